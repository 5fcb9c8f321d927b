import { isJsonObject, WeftError } from '@weft/common';
import {
  type ConfigLayer,
  FIRST_RUN,
  type GridConfig,
  type InitialWeights,
  initialCheckpoint,
  MODEL_PARTS,
  type ModelPart,
  mergeLayers,
  type RunConfig,
  resolveLayers,
} from '@weft/config';
import { hash, keyOf, layerOf } from './sweep-plan.js';

/** One run of a grid, as planned. JSON-serialisable. */
export interface GridPoint {
  /** The label of every axis' value, in the order of the axes; empty for a run that others begin from. */
  readonly cell: readonly string[];
  /** The name of a run that others begin from; null for the runs of a cell. */
  readonly first: string | null;
  readonly seed: number;
  /** A hash of everything that determines its losses: runs with the same key give the same losses. */
  readonly key: string;
  /** Keys of the runs it begins from. */
  readonly after: readonly string[];
}

/** A run of a grid before it is launched. Where it begins from a first run, `initFrom` has that run's name. */
export interface PlannedGridRun extends GridPoint {
  readonly config: RunConfig;
  /** The first runs that it begins from, as `initFrom` names them, and their keys. */
  readonly sources: readonly { readonly name: string; readonly key: string }[];
}

/** Layers over those of the grid's file and under what its axes vary, such as options of the command line. */
export interface GridSettings {
  /** Of the runs of all cells. */
  readonly runs: readonly ConfigLayer[];
  /** Of a run that others begin from. */
  readonly first: (name: string) => readonly ConfigLayer[];
}

/** A column of the table: something that every run of the grid measures. */
export interface Measure {
  /** The path in a line of `metrics.jsonl`, or `loss` for the mean over the last steps. */
  readonly path: readonly string[];
  readonly title: string;
  readonly better: 'higher' | 'lower';
}

/** A grid without the configurations of its runs: enough to follow and to summarise it. */
export interface GridOutline {
  /** The name and a hash of all runs: the same grid has the same id. */
  readonly id: string;
  readonly grid: Pick<GridConfig, 'name' | 'title' | 'seeds'> & { readonly axes: readonly string[] };
  /** First runs, then the cells, row by row, each with all its seeds. */
  readonly runs: readonly GridPoint[];
  /** Of the table. */
  readonly measures: readonly Measure[];
  /** What else is in the results: the score of every task. */
  readonly details: readonly Measure[];
}

/** A grid with the configurations of its runs. */
export interface GridPlan extends GridOutline {
  readonly runs: readonly PlannedGridRun[];
}

/** A grid with all its runs must fit into one message. */
const MOST_RUNS = 1000;

/**
 * Resolves every run of a grid.
 *
 * @param layersOf the layers of a recipe or run file
 * @param where names the file of the grid in errors
 * @throws WeftError `invalid_argument` for an invalid run, naming its cell, for cells that are the same run, and for runs
 *         that begin from an encoder of another shape
 */
export async function planGrid(
  grid: GridConfig,
  layersOf: (recipe: string) => Promise<readonly ConfigLayer[]>,
  where: string,
  settings: GridSettings = { runs: [], first: () => [] },
): Promise<GridPlan> {
  const cells = cellsOf(grid);
  const count = grid.seeds.length * (cells.length + Object.keys(grid.first).length);
  if (count > MOST_RUNS)
    throw new WeftError('invalid_argument', `${where}: the grid has ${count} runs, but may have ${MOST_RUNS}`, {
      hint: 'leave out values of its axes, or seeds',
    });
  const first = new Map<string, PlannedGridRun[]>();
  for (const [name, { recipe, run }] of Object.entries(grid.first)) {
    const layers = [...(await layersOf(recipe)), layerOf(run, `${where}: the first run ${name}`)];
    const runs = grid.seeds.map((seed) => {
      const config = resolveLayers([...layers, ...settings.first(name), layerOf({ seed }, where)]);
      return { cell: [], first: name, seed, config, key: keyOf(config), after: [], sources: [] };
    });
    first.set(name, runs);
  }
  const base = [...(await layersOf(grid.recipe)), layerOf(grid.run, `${where}: run`)];
  const runs = cells.flatMap((cell) =>
    grid.seeds.map((seed, seedIndex) => {
      const labels = cell.map(({ label }) => label);
      const own = cell.map(({ run }, i) => layerOf(run, `${where}: the axis ${grid.axes[i]?.name}`));
      const written = [...base, ...settings.runs, ...own];
      const encoder = encoderLayer(mergeLayers(written), first);
      const config = resolveLayers([...base, ...encoder, ...settings.runs, ...own, layerOf({ seed }, where)]);
      const sources = firstRunsOf(config, first, seedIndex, `${where}: the cell ${labels.join(', ')}`);
      const key = keyOf({ ...config, initFrom: renamed(config.initFrom, (name) => `run ${sources.get(name)?.key}`) });
      const named = [...sources].map(([name, source]) => ({ name, key: source.key }));
      const after = [...new Set(named.map((source) => source.key))];
      return { cell: labels, first: null, seed, config, key, after, sources: named };
    }),
  );
  refuseSameRuns(runs, where);
  const all = [...[...first.values()].flat(), ...runs];
  const { name, title, seeds } = grid;
  return {
    id: `${name}-${hash(all.map(({ key }) => key).join('\n'))}`,
    grid: { name, title, seeds, axes: grid.axes.map((axis) => axis.name) },
    runs: all,
    ...measuresOf(runs.map(({ config }) => config)),
  };
}

type Cell = GridConfig['axes'][number]['values'];

/** Every combination of the values of all axes; the last axis changes fastest. */
function cellsOf({ axes }: GridConfig): readonly Cell[] {
  return axes.reduce<readonly Cell[]>(
    (cells, { values }) => cells.flatMap((cell) => values.map((value) => [...cell, value])),
    [[]],
  );
}

/** The encoder of the first run that a run begins its encoder from: it has that one's shape where nothing else is said. */
function encoderLayer(written: unknown, first: ReadonlyMap<string, readonly PlannedGridRun[]>): readonly ConfigLayer[] {
  const initFrom = isJsonObject(written) ? written.initFrom : undefined;
  const path = isJsonObject(initFrom) ? initFrom.vision : initFrom;
  const source = typeof path === 'string' ? first.get(path.slice(FIRST_RUN.length))?.[0] : undefined;
  if (source === undefined) return [];
  return [layerOf({ model: { vision: source.config.model.vision } }, `the first run ${source.first}`)];
}

/** The first runs that a run begins from, by their names. */
function firstRunsOf(
  config: RunConfig,
  first: ReadonlyMap<string, readonly PlannedGridRun[]>,
  seedIndex: number,
  where: string,
): ReadonlyMap<string, PlannedGridRun> {
  const found = new Map<string, PlannedGridRun>();
  for (const [part, path] of checkpointsOf(config.initFrom)) {
    if (!path.startsWith(FIRST_RUN)) continue;
    const name = path.slice(FIRST_RUN.length);
    const source = first.get(name)?.[seedIndex];
    const refuse = (why: string, hint: string): never => {
      throw new WeftError('invalid_argument', `${where}: initFrom.${part} is ${path}, but ${why}`, { hint });
    };
    if (source === undefined)
      return refuse(
        `first has no run ${name}`,
        first.size === 0
          ? `write it there, such as first: { ${name}: { recipe: clip-tiny } }`
          : `choose one of ${[...first.keys()].join(', ')}`,
      );
    if (part === 'vision') {
      const field = (['patchSize', 'width', 'depth', 'heads', 'feedForwardWidth'] as const).find(
        (each) => source.config.model.vision[each] !== config.model.vision[each],
      );
      if (field !== undefined)
        refuse(
          `its encoder has the ${field} ${source.config.model.vision[field]}, and that of the run ${config.model.vision[field]}`,
          `give model.vision.${field} the same value in both`,
        );
    }
    found.set(path, source);
  }
  return found;
}

function checkpointsOf(initFrom: InitialWeights | null): readonly (readonly [ModelPart, string])[] {
  if (initFrom === null) return [];
  return MODEL_PARTS.flatMap((part) => {
    const path = initialCheckpoint(initFrom, part);
    return path === null ? [] : [[part, path] as const];
  });
}

/** The same checkpoints, with other names for those of first runs. */
export function renamed(initFrom: InitialWeights | null, nameOf: (firstRun: string) => string): InitialWeights | null {
  const rename = (path: string) => (path.startsWith(FIRST_RUN) ? nameOf(path) : path);
  if (initFrom === null || typeof initFrom === 'string') return initFrom === null ? null : rename(initFrom);
  const partOf = (part: ModelPart) => {
    const path = initialCheckpoint(initFrom, part);
    return path === null ? null : rename(path);
  };
  return { vision: partOf('vision'), connector: partOf('connector'), decoder: partOf('decoder') };
}

function refuseSameRuns(runs: readonly PlannedGridRun[], where: string): void {
  const byKey = new Map<string, PlannedGridRun>();
  for (const run of runs) {
    const other = byKey.get(run.key);
    if (other !== undefined)
      throw new WeftError(
        'invalid_argument',
        `${where}: the cells ${other.cell.join(', ')} and ${run.cell.join(', ')} are the same run`,
        { hint: 'one of the axes changes nothing' },
      );
    byKey.set(run.key, run);
  }
}

const LOSS: Measure = { path: ['loss'], title: 'training loss', better: 'lower' };

/** The means over tasks by shots, and the losses. What only some of the runs measure is empty for the others. */
function measuresOf(configs: readonly RunConfig[]): Pick<GridOutline, 'measures' | 'details'> {
  const tasks = new Map(configs.flatMap(({ evaluation }) => Object.entries(evaluation.tasks)));
  const shots = [...new Set(configs.flatMap(({ evaluation }) => evaluation.shots))].toSorted((a, b) => a - b);
  const hasImages = (kind: string) => kind === 'caption' || kind === 'question';
  const kinds = [...tasks.values()].map(({ kind }) => kind);
  const scores = (path: readonly string[], what: string): Measure[] =>
    shots.map((each) => ({ path: [...path, `${each}`], title: `${what}${each}-shot`, better: 'higher' }));
  const isHeldOut = configs.some(({ evaluation }) => evaluation.sequencesPerSource > 0);
  const heldOut: Measure = { path: ['heldOut', 'loss'], title: 'held-out loss', better: 'lower' };
  return {
    measures: [
      ...(kinds.some(hasImages) ? scores(['taskScores', 'average'], '') : []),
      ...(kinds.some((kind) => !hasImages(kind)) ? scores(['taskScores', 'textAverage'], 'text, ') : []),
      isHeldOut ? heldOut : LOSS,
    ],
    details: [
      ...[...tasks.keys()].flatMap((task) => scores(['taskScores', 'scores', task], `${task}, `)),
      ...(isHeldOut ? [LOSS] : []),
    ],
  };
}
