import { count, plural, WeftError } from '@weft/common';
import { loadSweepFile, type SweepConfig } from '@weft/config';
import { Home, shortPath } from '@weft/files';
import {
  metricOf,
  metricWords,
  planSweep,
  refuseFailures,
  type SweepPlan,
  type SweepResult,
  summariseSweep,
  sweepRunFacts,
  writeSweepFiles,
} from '@weft/sweeps';
import type { CommandContext } from '../context.js';
import { renderFit, renderOptima } from '../learning-rate/render-fit.js';
import { EXIT } from '../report-error.js';
import { baseLayers, withAbsolutePaths } from '../resolve-run.js';
import { type Line, paint, span } from '../spans.js';
import { followSweep, untilFinished } from '../sweep/follow-sweep.js';
import { gridTable } from '../sweep/grid-table.js';
import { launchSweep } from '../sweep/launch-sweep.js';
import type { SweepDisplay } from '../sweep/sweep-display.js';
import { type SweepCluster, withSweepCluster } from '../sweep/with-sweep-cluster.js';
import { say } from '../terminal.js';

export interface LrSweepOptions {
  readonly local?: number | true;
  readonly dryRun?: boolean;
}

/**
 * `weft lr sweep`: trains scales × rates × seeds, fits a law to them, and predicts. Runs that have finished are kept. The
 * coordinator drives the sweep; this command launches and shows it, and may leave and come back.
 */
export async function lrSweep(context: CommandContext, file: string, options: LrSweepOptions): Promise<number> {
  const sweep = await loadSweepFile(file);
  const plan = planSweep(sweep, await baseLayers(sweep.recipe), file);
  if (options.dryRun) return showPlan(context, plan);
  const { local } = options;
  if (local !== undefined) await checkDataOf(plan, context.home);
  const workersHere = local === true ? Math.max(...plan.runs.map(({ config }) => config.workers)) : local;
  return withSweepCluster(context, workersHere, (cluster, display) => runSweep(context, plan, cluster, display));
}

async function runSweep(
  context: CommandContext,
  plan: SweepPlan,
  { runs: client, sweeps, sharesFiles, signal }: SweepCluster,
  display: SweepDisplay,
): Promise<number> {
  const { terminal, json, home } = context;
  const prepare = (config: SweepPlan['runs'][number]['config']) =>
    sharesFiles ? withAbsolutePaths(config, home) : config;
  const launched = await launchSweep({ plan, sweeps, runs: client, prepare });
  if (json) say(terminal, JSON.stringify({ type: 'sweep', sweepId: plan.id, runs: plan.runs.length }));
  else display.event(`The sweep ${plan.id}: ${plural(plan.runs.length, 'run')}${reusedText(launched.reused)}.`);

  const runs = await followSweep({ plan, launched, runs: client, display, signal });
  refuseFailures(runs);
  const result = await untilFinished(launched, signal);
  const summary = summariseSweep(plan, runs);
  const { report, refusal, predictions, optima } = summary;
  // The coordinator wrote the files; where it sees other folders, or had nothing to train, we write them too.
  const directory =
    result !== '' && sharesFiles
      ? (JSON.parse(result) as SweepResult).directory
      : await writeSweepFiles(new Home(home), plan, runs, summary);
  display.clear();
  if (json) {
    const facts = { type: 'sweepSummary', sweepId: plan.id, directory, runs: runs.map(sweepRunFacts) };
    say(terminal, JSON.stringify({ ...facts, law: report?.law ?? null, optima, predictions }));
  } else {
    const fit: Line[] = [
      [],
      ...(report === null ? renderOptima(optima, metricOf(plan.sweep)) : renderFit(report, predictions)),
    ];
    for (const line of [...gridTable(runs), ...fit]) say(terminal, paint(line, terminal.colors));
    say(terminal, `Everything is in ${shortPath(directory)}`);
  }
  if (refusal !== undefined) throw refusal;
  return EXIT.done;
}

const reusedText = (reused: number) => (reused === 0 ? '' : `, ${count(reused)} of them made before`);

/** `--dry-run`: the runs there would be. */
function showPlan({ terminal, json }: CommandContext, plan: SweepPlan): number {
  if (json) {
    say(terminal, JSON.stringify({ type: 'sweepPlan', ...plan }));
    return EXIT.done;
  }
  const { sweep, runs } = plan;
  say(terminal, paint([span(`${plan.id}: ${plural(runs.length, 'run')}`, 'bold')], terminal.colors));
  for (const { name, learningRates } of sweep.scales) {
    const own = runs.find(({ scale }) => scale === name);
    say(
      terminal,
      `  ${name}: N ${count(own?.params ?? 0)}, D ${count(own?.tokens ?? 0)}, rates ${learningRates.join(', ')}`,
    );
  }
  say(
    terminal,
    `  seeds ${sweep.seeds.join(', ')}; by ${metricWords(sweep)}${sweep.higherIsBetter ? ', the higher the better' : ''}; ${earlyStopText(sweep)}`,
  );
  say(terminal, paint([span('Nothing was started.', 'dim')], terminal.colors));
  return EXIT.done;
}

function earlyStopText({ earlyStop }: SweepConfig): string {
  if (earlyStop === null) return 'every run goes to its end';
  const { afterPart, worseBy } = earlyStop;
  return `given up from ${100 * afterPart} % of the steps on when ${100 * worseBy} % above the best of the scale`;
}

/** Opens the data of every scale before anything is started. */
async function checkDataOf({ sweep, runs }: SweepPlan, home: string): Promise<void> {
  const { checkData } = await import('../data/check-data.js');
  for (const { name } of sweep.scales) {
    const config = runs.find(({ scale }) => scale === name)?.config;
    if (config === undefined) throw new WeftError('internal', `the scale ${name} has no run`);
    await checkData({ config: withAbsolutePaths(config, home), recipe: sweep.recipe, settings: [], home });
  }
}
