import { join } from 'node:path';
import { WEFT_VERSION } from '@weft/common';
import { type Home, makeDirectory, writeFileAtomically } from '@weft/files';
import { lawPlot, writeFitFile } from '@weft/scaling';
import { metricOf, metricWords, type SweepSummary } from './summarise-sweep.js';
import type { SweepOutline } from './sweep-plan.js';
import { type SweepRun, sweepRunJson } from './sweep-run.js';

/**
 * Writes `runs.csv`, which `weft lr fit` reads, and where there is a law, `fit.json` with its provenance and
 * `fit.svg`.
 *
 * @returns the directory, below the home's `sweeps`
 */
export async function writeSweepFiles(
  home: Home,
  plan: SweepOutline,
  runs: readonly SweepRun[],
  { report, predictions, optima }: SweepSummary,
): Promise<string> {
  const directory = home.sweepDirectory(plan.id);
  await makeDirectory(directory);
  await writeFileAtomically(join(directory, 'runs.csv'), runsTable(plan, runs));
  if (report === null) return directory;
  const { sweep } = plan;
  const provenance = {
    createdAt: new Date().toISOString(),
    metric: metricWords(sweep),
    sweepId: plan.id,
    sweep,
    runs: runs.map(sweepRunJson),
  };
  await writeFileAtomically(join(directory, 'fit.json'), writeFitFile(report, provenance));
  const bars = optima.map(({ interval }) => interval);
  const title = `${sweep.name}: η(N) of ${runs.length} runs`;
  await writeFileAtomically(
    join(directory, 'fit.svg'),
    lawPlot({ law: report.law, points: report.points, bars, predictions, title }),
  );
  return directory;
}

function runsTable({ id, sweep }: SweepOutline, runs: readonly SweepRun[]): string {
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
