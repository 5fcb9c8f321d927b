import { UsageError } from '@weft/command-line';
import { count, didYouMean, plural, WeftError } from '@weft/common';
import { type GridConfig, loadGridFile, type RunConfig, resolveGrid, settingLayers } from '@weft/config';
import { Home, shortPath } from '@weft/files';
import {
  type DriverResult,
  FIGURES,
  figureGrid,
  type GridPlan,
  type GridRun,
  type GridSettings,
  gridCells,
  gridRecord,
  gridRunJson,
  type PlannedGridRun,
  planGrid,
  readGridRun,
  refuseFailures,
  renamed,
  runsOfGrid,
  writeGridFiles,
} from '@weft/sweeps';
import type { CommandContext } from '../context.js';
import { EXIT } from '../report-error.js';
import { baseLayers, resolveRun, withAbsolutePaths } from '../resolve-run.js';
import { printLines, span } from '../styled-lines.js';
import { followSweep, type LaunchedPlan, launchSweep, waitForResult } from '../sweep/follow-sweep.js';
import { gridRuns, renderCells } from '../sweep/grid-display.js';
import { type SweepCluster, withSweepCluster } from '../sweep/sweep-cluster.js';
import { createSweepDisplay, type SweepDisplay } from '../sweep/sweep-display.js';
import { print, printJson } from '../terminal.js';
import { tasksLayer } from './evaluate.js';

/** The options of `weft ablate`. */
export interface AblateOptions {
  readonly recipe?: string;
  readonly steps?: number;
  readonly workers?: number;
  /** How many seeds: 0, 1, …. */
  readonly seeds?: number;
  readonly shots?: readonly number[];
  /** Files of tasks, or `demo`. */
  readonly tasks?: readonly string[];
  readonly set?: readonly string[];
  /** `axis=value`: only these values of the axis. */
  readonly only?: readonly string[];
  readonly local?: number | true;
  readonly dryRun?: boolean;
}

/**
 * `weft ablate`: trains the runs of one of the paper's figures, or of a grid of settings, evaluates each, and writes table
 * and figure. The coordinator drives the grid; this command launches and follows it, and may leave and come back.
 */
export async function ablate(context: CommandContext, name: string, options: AblateOptions): Promise<number> {
  const plan = await planAblation(context, name, options);
  if (options.dryRun) return showPlan(context, plan);
  const { local } = options;
  if (local !== undefined) await prepareData(context, plan, options.recipe ?? name);
  const localWorkers = local === true ? Math.max(...plan.runs.map(({ config }) => config.workers)) : local;
  const display = createSweepDisplay(context.terminal, context, gridRuns(plan));
  return withSweepCluster(context, { localWorkers, display, command: `ablate ${name}` }, (cluster) =>
    runGrid(context, plan, cluster, display),
  );
}

/** The smallest run that has all parts of MM1 and learns something of them in a minute. */
const DEFAULT_RECIPE = 'debugTiny';

async function planAblation(context: CommandContext, name: string, options: AblateOptions): Promise<GridPlan> {
  const isFile = /\.(ya?ml|json)$/i.test(name);
  const whole = isFile ? await gridOfFile(name, options) : await gridOfFigure(name, options);
  const grid = { ...whole, axes: onlyValues(whole.axes, options.only ?? []) };
  const seeds = options.seeds === undefined ? grid.seeds : Array.from({ length: options.seeds }, (_, i) => i);
  const settings = await settingsOf(context, options);
  return planGrid({ ...grid, seeds }, baseLayers, isFile ? name : `the ablation ${name}`, settings);
}

async function gridOfFile(file: string, { recipe }: AblateOptions): Promise<GridConfig> {
  const grid = await loadGridFile(file);
  return recipe === undefined ? grid : { ...grid, recipe };
}

async function gridOfFigure(name: string, { recipe = DEFAULT_RECIPE, set = [] }: AblateOptions): Promise<GridConfig> {
  const figure = FIGURES.find((each) => each === name);
  if (figure === undefined) throw unknownFigure(name);
  const own = set.filter((setting) => !setting.startsWith(FIRST_SETTING));
  const base = await resolveRun(recipe, { set: own });
  return resolveGrid({ value: figureGrid(figure, base, recipe), where: () => `the ablation ${figure}` });
}

function unknownFigure(name: string): WeftError {
  const meant = didYouMean(name, FIGURES);
  return new WeftError('not_found', `there is no ablation ${JSON.stringify(name)}`, {
    hint: `${meant === undefined ? '' : `write ${meant}, or `}choose one of ${FIGURES.join(', ')}, or name the YAML file of a grid`,
  });
}

const FIRST_SETTING = 'first.';

/** The axes with the values that `--only axis=value` names; those of which it names none keep all. */
function onlyValues(axes: GridConfig['axes'], only: readonly string[]): GridConfig['axes'] {
  for (const text of only) {
    const axis = axes.find(({ name }) => text.startsWith(`${name}=`));
    if (axis === undefined)
      throw new UsageError(
        `--only ${text} names no axis: write axis=value with one of ${axes.map(({ name }) => name).join(', ')}`,
      );
    const value = text.slice(axis.name.length + 1);
    if (!axis.values.some(({ label }) => label === value))
      throw new UsageError(
        `--only ${text}: the axis ${axis.name} has ${axis.values.map(({ label }) => label).join(', ')}`,
      );
  }
  return axes.map(({ name, values }) => {
    const named = values.filter(({ label }) => only.includes(`${name}=${label}`));
    return { name, values: named.length === 0 ? values : named };
  });
}

/** The layers of the options: `--set first.clip.steps=20` is for the first run `clip`, and all others for the cells. */
async function settingsOf(
  { home }: CommandContext,
  { steps, workers, shots, tasks = [], set = [] }: AblateOptions,
): Promise<GridSettings> {
  const files = await Promise.all(tasks.map((task) => tasksLayer(task, home)));
  const own = set.filter((setting) => !setting.startsWith(FIRST_SETTING));
  const workersLayer = workers === undefined ? [] : settingLayers([`workers=${workers}`], '--workers');
  return {
    runs: [
      ...(steps === undefined ? [] : settingLayers([`steps=${steps}`], '--steps')),
      ...workersLayer,
      ...files,
      ...(shots === undefined ? [] : [{ value: { evaluation: { shots } }, where: () => '--shots' }]),
      ...settingLayers(own),
    ],
    first: (name) => [
      ...workersLayer,
      ...settingLayers(
        set.flatMap((setting) => {
          const start = `${FIRST_SETTING}${name}.`;
          return setting.startsWith(start) ? [setting.slice(start.length)] : [];
        }),
      ),
    ],
  };
}

/** Packs the data of every run where they are not packed yet, and reads its tasks, before anything is started. */
async function prepareData(context: CommandContext, { runs }: GridPlan, recipe: string): Promise<void> {
  const { indexDataset } = await import('@weft/data');
  const { checkData, withDataHints } = await import('../data/check-data.js');
  const { DataProgressDisplay } = await import('../data/data-progress.js');
  const checked = new Set<string>();
  for (const { config: planned } of runs) {
    const config = withAbsolutePaths(planned, context.home);
    const { data, model, task, evaluation } = config;
    const what = JSON.stringify([data, model.sequenceLength, model.connector.tokensPerImage, task.kind, evaluation]);
    if (checked.has(what)) continue;
    checked.add(what);
    const named = { config, recipe, settings: [], home: context.home };
    const progress = new DataProgressDisplay(context);
    await withDataHints(named, () => indexDataset({ data, model, task, onProgress: progress.onProgress })).finally(() =>
      progress.close(),
    );
    await checkData(named);
  }
}

async function runGrid(
  context: CommandContext,
  planned: GridPlan,
  { runs: client, sweeps, sharesFilesystem, signal }: SweepCluster,
  display: SweepDisplay<GridRun>,
): Promise<number> {
  const { terminal, json, home } = context;
  const { withIndexVersions } = await import('../data/check-data.js');
  const plan = { ...planned, runs: await withIndexVersions(planned.runs, home) };
  const launchedPlan = launchedGrid(plan, sharesFilesystem ? home : undefined);
  const launched = await launchSweep({ plan: launchedPlan, sweeps, runs: client });
  const reused = launched.reused === 0 ? '' : `, ${count(launched.reused)} of them trained before`;
  if (json) printJson(terminal, { type: 'sweep', sweepId: plan.id, runs: plan.runs.length });
  else display.event(`The grid ${plan.id}: ${plural(plan.runs.length, 'run')}${reused}.`);
  if (plan.measures.every(({ better }) => better === 'lower'))
    display.event('No tasks are scored, only losses: name files of tasks with --tasks.');
  const runs = await followSweep<GridRun>({
    ...{ plan: launchedPlan, launched, runs: client, onEnded: display.ended, onProgress: display.refresh, signal },
  });
  refuseFailures(runs);
  refuseStuck(runs);
  const result = await waitForResult(launched, signal);
  // The coordinator wrote the files. Where it has another file system, or nothing was launched, this command does too.
  const directory =
    result !== '' && sharesFilesystem
      ? (JSON.parse(result) as DriverResult).directory
      : await writeGridFiles(new Home(home), plan, runs);
  display.clear();
  if (json)
    printJson(terminal, {
      ...{ type: 'gridSummary', gridId: plan.id, directory },
      ...{ measures: plan.measures, cells: gridCells(plan, runs), runs: runs.map(gridRunJson) },
    });
  else {
    printLines(terminal, renderCells(plan, runs));
    print(terminal, `The table and the figure are in ${shortPath(directory)}`);
  }
  return EXIT.done;
}

/** @throws WeftError `failed_precondition` when runs wait for one that a person stopped. */
function refuseStuck(runs: readonly GridRun[]): void {
  const waiting = runs.find(({ view }) => view.status === 'queued');
  const before = runs.find(
    ({ planned, view }) => waiting?.planned.after.includes(planned.key) && view.status === 'stopped',
  );
  if (before === undefined) return;
  const { runId } = before.view;
  throw new WeftError('failed_precondition', `runs of the grid wait for ${runId}, which was stopped`, {
    hint: `weft resume ${runId}, and run this command again`,
  });
}

/** @param home where the coordinator shares this file system: paths are made absolute there */
function launchedGrid(plan: GridPlan, home: string | undefined): LaunchedPlan<GridRun> {
  const byKey = new Map(plan.runs.map((run) => [run.key, run]));
  return {
    id: plan.id,
    runs: plan.runs,
    record: (reused) => gridRecord(plan, reused),
    earlierRuns: runsOfGrid,
    isUsable: ({ status }) => status === 'finished',
    configOf: (index, runIdOf) => {
      const run = plan.runs[index];
      if (run === undefined) throw new WeftError('internal', `the grid ${plan.id} has no run ${index}`);
      const sources = new Map(run.sources.map(({ name, key }) => [name, byKey.get(key)]));
      const checkpointOf = (name: string) => lastCheckpoint(sources.get(name), runIdOf);
      const after = [...new Set(run.after.map(runIdOf))];
      const queue = { ...run.config.queue, after: [...run.config.queue.after, ...after] };
      const config: RunConfig = { ...run.config, queue, initFrom: renamed(run.config.initFrom, checkpointOf) };
      return home === undefined ? config : withAbsolutePaths(config, home);
    },
    read: readGridRun(plan),
    isStuck: ({ planned, view }, runs) =>
      view.status === 'queued' &&
      runs.some(
        (other) =>
          planned.after.includes(other.planned.key) &&
          (other.view.status === 'failed' || other.view.status === 'stopped'),
      ),
  };
}

/** Where a run will leave the checkpoint of its last step, in the home of its coordinator. */
function lastCheckpoint(run: PlannedGridRun | undefined, runIdOf: (key: string) => string): string {
  if (run === undefined) throw new WeftError('internal', 'a run of a grid begins from a run that is not in it');
  const step = `step-${String(run.config.steps).padStart(8, '0')}`;
  return `.weft/runs/${runIdOf(run.key)}/checkpoints/${step}`;
}

/** `--dry-run`: the runs there would be. */
function showPlan({ terminal, json }: CommandContext, plan: GridPlan): number {
  if (json) {
    printJson(terminal, { type: 'gridPlan', ...plan });
    return EXIT.done;
  }
  const { grid, runs, measures } = plan;
  const names = [...new Set(runs.map(({ first, cell }) => (first === null ? cell.join(' · ') : `first ${first}`)))];
  printLines(terminal, [
    [span(`${plan.id}: ${plural(runs.length, 'run')}`, 'bold')],
    [span(`  ${grid.axes.join(' · ')}`, 'dim')],
    ...names.map((each) => [span(`  ${each}`)]),
    [span(`  seeds ${grid.seeds.join(', ')}; by ${measures.map(({ title }) => title).join(', ')}`)],
    [span('Nothing was started.', 'dim')],
  ]);
  return EXIT.done;
}
