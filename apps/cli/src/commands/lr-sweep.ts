import { count, plural, WeftError } from '@weft/common';
import { loadSweepFile, type SweepConfig } from '@weft/config';
import { Home, shortPath } from '@weft/files';
import {
  metricOf,
  metricWords,
  planSweep,
  readSweepRun,
  refuseFailures,
  runsOfSweep,
  type SweepPlan,
  type SweepResult,
  type SweepRun,
  type SweepSummary,
  summariseSweep,
  sweepRecord,
  sweepRunJson,
  writeSweepFiles,
} from '@weft/sweeps';
import type { CommandContext } from '../context.js';
import { renderFit, renderOptima } from '../learning-rate/render-fit.js';
import { EXIT } from '../report-error.js';
import { baseLayers, withAbsolutePaths } from '../resolve-run.js';
import { printLines, span } from '../styled-lines.js';
import { followSweep, type LaunchedPlan, launchSweep, waitForResult } from '../sweep/follow-sweep.js';
import { type SweepCluster, withSweepCluster } from '../sweep/sweep-cluster.js';
import { createSweepDisplay, renderGrid, SWEEP_RUNS, type SweepDisplay } from '../sweep/sweep-display.js';
import { print, printJson } from '../terminal.js';

/** The options of `weft lr sweep`. */
export interface LrSweepOptions {
  readonly local?: number | true;
  readonly dryRun?: boolean;
}

/**
 * `weft lr sweep`: trains scales × rates × seeds, fits a law to them, and predicts. The coordinator drives the sweep;
 * this command launches and follows it, and may leave and come back.
 */
export async function lrSweep(context: CommandContext, file: string, options: LrSweepOptions): Promise<number> {
  const sweep = await loadSweepFile(file);
  const plan = planSweep(sweep, await baseLayers(sweep.recipe), file);
  if (options.dryRun) return showPlan(context, plan);
  const { local } = options;
  if (local !== undefined) await checkSweepData(plan, context.home);
  const localWorkers = local === true ? Math.max(...plan.runs.map(({ config }) => config.workers)) : local;
  const display = createSweepDisplay(context.terminal, context, SWEEP_RUNS);
  return withSweepCluster(context, { localWorkers, display, command: `lr sweep ${file}` }, (cluster) =>
    runSweep(context, plan, cluster, display),
  );
}

async function runSweep(
  context: CommandContext,
  planned: SweepPlan,
  { runs: client, sweeps, sharesFilesystem, signal }: SweepCluster,
  display: SweepDisplay<SweepRun>,
): Promise<number> {
  const { terminal, json, home } = context;
  const { withIndexVersions } = await import('../data/check-data.js');
  const plan = { ...planned, runs: await withIndexVersions(planned.runs, home) };
  const launchedPlan: LaunchedPlan<SweepRun> = {
    id: plan.id,
    runs: plan.runs,
    record: (reused) => sweepRecord(plan, reused),
    earlierRuns: (sweepJson) => runsOfSweep(plan.sweep.name, sweepJson),
    isUsable: ({ status }) => status === 'finished' || status === 'stopped',
    configOf: (index) => {
      const config = plan.runs[index]?.config;
      if (config === undefined) throw new WeftError('internal', `the sweep ${plan.id} has no run ${index}`);
      return sharesFilesystem ? withAbsolutePaths(config, home) : config;
    },
    read: readSweepRun(plan),
    isStuck: () => false,
  };
  const launched = await launchSweep({ plan: launchedPlan, sweeps, runs: client });
  const reused = launched.reused === 0 ? '' : `, ${count(launched.reused)} of them trained before`;
  if (json) printJson(terminal, { type: 'sweep', sweepId: plan.id, runs: plan.runs.length });
  else display.event(`The sweep ${plan.id}: ${plural(plan.runs.length, 'run')}${reused}.`);

  const onEnded = (run: SweepRun, all: readonly SweepRun[]) => {
    if (run.givenUp?.startsWith('given up') && !launched.isReused(run.view.runId))
      display.event(`${run.planned.scale} at ${run.planned.learningRate} is ${run.givenUp}.`);
    display.ended(run, all);
  };
  const runs = await followSweep<SweepRun>({
    ...{ plan: launchedPlan, launched, runs: client, onEnded, onProgress: display.refresh, signal },
  });
  refuseFailures(runs);
  const result = await waitForResult(launched, signal);
  const summary = summariseSweep(plan, runs);
  // The coordinator wrote the files. Where it has another file system, or nothing was launched, this command does too.
  const directory =
    result !== '' && sharesFilesystem
      ? (JSON.parse(result) as SweepResult).directory
      : await writeSweepFiles(new Home(home), plan, runs, summary);
  display.clear();
  printSummary(context, plan, runs, summary, directory);
  if (summary.refusal !== undefined) throw summary.refusal;
  return EXIT.done;
}

function printSummary(
  { terminal, json }: CommandContext,
  plan: SweepPlan,
  runs: readonly SweepRun[],
  { report, optima, predictions }: SweepSummary,
  directory: string,
): void {
  if (json) {
    const sweep = { type: 'sweepSummary', sweepId: plan.id, directory, runs: runs.map(sweepRunJson) };
    printJson(terminal, { ...sweep, law: report?.law ?? null, optima, predictions });
    return;
  }
  const fit = report === null ? renderOptima(optima, metricOf(plan.sweep)) : renderFit(report, predictions);
  printLines(terminal, [...renderGrid(runs), [], ...fit]);
  print(terminal, `The results are in ${shortPath(directory)}`);
}

/** `--dry-run`: the runs there would be. */
function showPlan({ terminal, json }: CommandContext, plan: SweepPlan): number {
  if (json) {
    printJson(terminal, { type: 'sweepPlan', ...plan });
    return EXIT.done;
  }
  const { sweep, runs } = plan;
  const scales = sweep.scales.map(({ name, learningRates }) => {
    const own = runs.find(({ scale }) => scale === name);
    return `  ${name}: N ${count(own?.params ?? 0)}, D ${count(own?.tokens ?? 0)}, rates ${learningRates.join(', ')}`;
  });
  const better = sweep.higherIsBetter ? ', the higher the better' : '';
  printLines(terminal, [
    [span(`${plan.id}: ${plural(runs.length, 'run')}`, 'bold')],
    ...scales.map((scale) => [span(scale)]),
    [span(`  seeds ${sweep.seeds.join(', ')}; by ${metricWords(sweep)}${better}; ${earlyStopText(sweep)}`)],
    [span('Nothing was started.', 'dim')],
  ]);
  return EXIT.done;
}

function earlyStopText({ earlyStop }: SweepConfig): string {
  if (earlyStop === null) return 'every run trains to its end';
  const { afterPart, worseBy } = earlyStop;
  return `given up from ${100 * afterPart} % of the steps on when ${100 * worseBy} % above the best of the scale`;
}

/** Opens the data of every scale before anything is started. */
async function checkSweepData({ sweep, runs }: SweepPlan, home: string): Promise<void> {
  const { checkData } = await import('../data/check-data.js');
  for (const { name } of sweep.scales) {
    const config = runs.find(({ scale }) => scale === name)?.config;
    if (config === undefined) throw new WeftError('internal', `the scale ${name} has no run`);
    await checkData({ config: withAbsolutePaths(config, home), recipe: sweep.recipe, settings: [], home });
  }
}
