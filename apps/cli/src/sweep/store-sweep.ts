import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { WEFT_VERSION } from '@weft/common';
import { lawPicture, writeFitFile } from '@weft/scaling';
import { writeOutput } from '../learning-rate/write-output.js';
import { type Conclusion, metricOf, metricWords } from './conclude.js';
import type { SweepPlan } from './plan.js';
import type { SweepRun } from './run-result.js';
import { factsOf } from './sweep-display.js';

/** Where the results of sweeps lie in a home. */
export const sweepDirectory = (home: string, sweepId: string) => join(home, 'sweeps', sweepId);

/**
 * Writes `runs.csv`, which `weft lr fit` reads, and where there is a law, `fit.json` with its provenance and
 * `fit.svg`. Returns the directory.
 */
export async function storeSweep(
  home: string,
  plan: SweepPlan,
  runs: readonly SweepRun[],
  { report, predictions, optima }: Conclusion,
): Promise<string> {
  const directory = sweepDirectory(home, plan.id);
  await mkdir(directory, { recursive: true });
  await writeOutput(join(directory, 'runs.csv'), runsTable(plan, runs));
  if (report === null) return directory;
  const { sweep } = plan;
  const provenance = {
    createdAt: new Date().toISOString(),
    metric: metricWords(sweep),
    sweepId: plan.id,
    sweep,
    runs: runs.map(factsOf),
  };
  await writeOutput(join(directory, 'fit.json'), writeFitFile(report, provenance));
  const bars = optima.map(({ interval }) => interval);
  const title = `${sweep.name}: η(N) of ${runs.length} runs`;
  await writeOutput(
    join(directory, 'fit.svg'),
    lawPicture({ law: report.law, points: report.points, bars, predictions, title }),
  );
  return directory;
}

function runsTable({ id, sweep }: SweepPlan, runs: readonly SweepRun[]): string {
  const rows = runs.map(({ planned, view, score }) =>
    [planned.scale, planned.params, planned.tokens, planned.learningRate, planned.seed, score ?? '', view.runId].join(
      ',',
    ),
  );
  const { name } = metricOf(sweep);
  const head = [
    `# The sweep ${id} of weft ${WEFT_VERSION}; ${name}: ${metricWords(sweep)}, empty where a run was given up or diverged`,
    `scale,params,tokens,learning_rate,seed,${name},run`,
  ];
  return `${[...head, ...rows].join('\n')}\n`;
}
