import { type RunsClient, SweepsClient } from '@weft/client';
import { count, plural, WeftError } from '@weft/common';
import { loadSweepFile, type RunConfig, type SweepConfig } from '@weft/config';
import { Home, shortPath } from '@weft/files';
import {
  metricOf,
  metricWords,
  planSweep,
  refuseFailures,
  type SweepPlan,
  type SweepResult,
  type SweepRun,
  type SweepSummary,
  summariseSweep,
  sweepRunJson,
  writeSweepFiles,
} from '@weft/sweeps';
import type { CommandContext } from '../context.js';
import { Interrupts } from '../interrupts.js';
import { renderFit, renderOptima } from '../learning-rate/render-fit.js';
import { EXIT } from '../report-error.js';
import { baseLayers, withAbsolutePaths } from '../resolve-run.js';
import { openCluster } from '../runs/open-cluster.js';
import { printLines, span } from '../styled-lines.js';
import { followSweep, launchSweep, waitForResult } from '../sweep/follow-sweep.js';
import { createSweepDisplay, renderGrid, type SweepDisplay } from '../sweep/sweep-display.js';
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
  const interrupts = new Interrupts();
  const display = createSweepDisplay(context.terminal, context);
  try {
    return await withSweepCluster(context, localWorkers, display, interrupts, (cluster) =>
      runSweep(context, plan, cluster, display),
    );
  } catch (thrown) {
    if (!interrupts.first.aborted || !WeftError.is(thrown, 'cancelled')) throw thrown;
    const again = `${context.terminal.commandName} lr sweep ${file}`;
    display.event(
      localWorkers === undefined
        ? `The sweep goes on without this command. Come back with ${again}`
        : `The sweep is interrupted. Continue it with ${again} --local ${localWorkers}`,
    );
    return EXIT.stopped;
  } finally {
    display.close();
    interrupts.close();
  }
}

interface SweepCluster {
  readonly runs: RunsClient;
  readonly sweeps: SweepsClient;
  readonly sharesFilesystem: boolean;
  /** Aborts at Ctrl-C, or when the processes of a local cluster die. */
  readonly signal: AbortSignal;
}

/** @throws WeftError why a local cluster failed; errors of `use`. */
async function withSweepCluster(
  context: CommandContext,
  localWorkers: number | undefined,
  display: SweepDisplay,
  interrupts: Interrupts,
  use: (cluster: SweepCluster) => Promise<number>,
): Promise<number> {
  const onProgress = (sentence: string) => display.event(sentence);
  const cluster = await openCluster({ context, localWorkers, interrupts, onProgress, recover: 'auto' });
  const { client: runs, sharesFilesystem, local } = cluster;
  const failed = new AbortController();
  local?.onExit(async (sentence) => {
    display.event(sentence);
    if ((await local.failure()) !== undefined) failed.abort();
  });
  interrupts.beforeExit(() => local?.kill());
  try {
    const sweeps = await SweepsClient.connect(runs.address);
    try {
      const signal = AbortSignal.any([interrupts.first, failed.signal]);
      return await use({ runs, sweeps, sharesFilesystem, signal });
    } finally {
      sweeps.close();
    }
  } catch (thrown) {
    throw (await local?.failure()) ?? thrown;
  } finally {
    display.close();
    await cluster.close();
  }
}

async function runSweep(
  context: CommandContext,
  plan: SweepPlan,
  { runs: client, sweeps, sharesFilesystem, signal }: SweepCluster,
  display: SweepDisplay,
): Promise<number> {
  const { terminal, json, home } = context;
  const prepare = (config: RunConfig) => (sharesFilesystem ? withAbsolutePaths(config, home) : config);
  const launched = await launchSweep({ plan, sweeps, runs: client, prepare });
  const reused = launched.reused === 0 ? '' : `, ${count(launched.reused)} of them trained before`;
  if (json) printJson(terminal, { type: 'sweep', sweepId: plan.id, runs: plan.runs.length });
  else display.event(`The sweep ${plan.id}: ${plural(plan.runs.length, 'run')}${reused}.`);

  const runs = await followSweep({ plan, launched, runs: client, display, signal });
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
