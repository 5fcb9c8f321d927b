import { createHash } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { WeftError } from '@weft/common';
import {
  type ConfigLayer,
  DEFAULT_ADAFACTOR,
  DEFAULT_CHAT_TEMPLATE,
  DEFAULT_CHECKPOINT,
  DEFAULT_DIVERGENCE,
  DEFAULT_IMAGES,
  DEFAULT_STRAGGLERS,
  DEFAULT_TASK,
  hasDefaultSources,
  ONE_DEVICE,
  type RunConfig,
  type RunConfigInput,
  resolveLayers,
  type SweepConfig,
  withoutLaterDefaults,
} from '@weft/config';
import { parameterCounts } from '@weft/scaling';

/** One run of a sweep, as planned. JSON-serialisable. */
export interface SweepPoint {
  readonly scale: string;
  /** N of the law. */
  readonly params: number;
  /** D: positions of all sequences of the run. */
  readonly tokens: number;
  readonly learningRate: number;
  readonly seed: number;
  /** A hash of everything that determines the losses: runs with the same key give the same losses. */
  readonly key: string;
}

/** A run of a sweep before it is launched. */
export interface PlannedRun extends SweepPoint {
  readonly config: RunConfig;
}

/** A size to predict the learning rate for. */
export interface PlannedPrediction {
  readonly name: string;
  readonly params: number;
  readonly tokens: number;
}

/** A sweep without the configurations of its runs: enough to follow and to summarise it. */
export interface SweepOutline {
  /** The name and a hash of all runs: the same file gives the same sweep. */
  readonly id: string;
  readonly sweep: SweepConfig;
  /** Scale by scale; within one, the rates from the middle outwards, each with all its seeds. */
  readonly runs: readonly SweepPoint[];
  readonly predictions: readonly PlannedPrediction[];
}

/** A sweep with the configurations of its runs. */
export interface SweepPlan extends SweepOutline {
  readonly runs: readonly PlannedRun[];
}

/**
 * Resolves every run of a sweep.
 *
 * @param recipe the layers of the recipe that the sweep starts from
 * @param where names the file of the sweep in errors
 * @throws WeftError `invalid_argument` for an invalid run, naming its scale, and for runs that could not be compared.
 */
export function planSweep(sweep: SweepConfig, recipe: readonly ConfigLayer[], where: string): SweepPlan {
  const base = [...recipe, layerOf(sweep.run, `${where}: run`)];
  const runs = sweep.scales.flatMap((scale) =>
    centerOut(scale.learningRates).flatMap((learningRate) =>
      sweep.seeds.map((seed) => {
        const own = { recipe: `${sweep.name}-${scale.name}`, seed, optimizer: { learningRate } };
        const layers = [...base, layerOf(scale.run, `${where}: the scale ${scale.name}`), layerOf(own, where)];
        const config = resolveLayers(layers);
        return { scale: scale.name, ...sizeOf(config), learningRate, seed, config, key: keyOf(config) };
      }),
    ),
  );
  checkPlan(sweep, runs, where);
  const predictions = sweep.predict.map(({ name, run }) => {
    const anyRate = { optimizer: { learningRate: 1 } };
    const config = resolveLayers([...base, layerOf(run, `${where}: the prediction ${name}`), layerOf(anyRate, where)]);
    return { name, ...sizeOf(config) };
  });
  const id = `${sweep.name}-${hash(runs.map(({ key }) => key).join('\n'))}`;
  return { id, sweep, runs, predictions };
}

/** Fields that a file or an option adds. */
export function layerOf(value: RunConfigInput, where: string): ConfigLayer {
  return { value, where: () => where };
}

function sizeOf({ model, steps, globalBatchSize }: RunConfig) {
  return { params: parameterCounts(model).backbone, tokens: steps * globalBatchSize * model.sequenceLength };
}

const { subImages: _subImages, ...withoutSubImages } = DEFAULT_IMAGES;
const { rollbackSteps: _rollbackSteps, ...withoutRollback } = DEFAULT_DIVERGENCE;

/**
 * Fields that configurations of older versions lack, and the values with which a run trains as it did then: they are left
 * out of keys, so that finished runs are found again. A new field of a run belongs here.
 */
const LATER_FIELDS: readonly (readonly [path: string, formerValue: unknown])[] = [
  ['engine.mesh', ONE_DEVICE],
  ['engine.collectives', 'auto'],
  ['data.images.subImages', null],
  ['data.images', withoutSubImages],
  ['data.chatTemplate', DEFAULT_CHAT_TEMPLATE],
  ['data.datasets', {}],
  ['data.index', null],
  ['data.shuffle', null],
  ['optimizer.learningRateFactors', {}],
  ['optimizer.kind', 'adamw'],
  ['optimizer.adafactor', DEFAULT_ADAFACTOR],
  ['task', DEFAULT_TASK],
  ['divergence.rollbackSteps', DEFAULT_DIVERGENCE.rollbackSteps],
  ['divergence', withoutRollback],
  ['checkpoint.everyMinutes', DEFAULT_CHECKPOINT.everyMinutes],
  ['checkpoint.keepEvery', DEFAULT_CHECKPOINT.keepEvery],
  ['data.skippedBatches', []],
  ['data.indexVersion', 1],
  ['data.indexVersion', null],
  ['data.mixtureChanges', []],
  ['stragglers', DEFAULT_STRAGGLERS],
];

/**
 * A hash of everything that determines the losses of a run: runs with the same key give the same losses.
 *
 * Without the settings that change when a run trains, but not its losses: the queue, `minWorkers`, `expertCopies`, and how remote shards are read. Without the default
 * sources, a model's variants and an evaluation without tasks too, because configurations of older versions do not name
 * them; the order of other sources counts.
 */
export function keyOf({ queue: _, minWorkers: __, expertCopies: ____, ...config }: RunConfig): string {
  const { sources, remote: ___, ...data } = config.data;
  const named = hasDefaultSources(config.data) ? data : { ...data, sources: Object.entries(sources) };
  const { everySteps, sequencesPerSource, tasks } = config.evaluation;
  const evaluation = Object.keys(tasks).length === 0 ? { everySteps, sequencesPerSource } : config.evaluation;
  const model = withoutLaterDefaults(config.model);
  const former = LATER_FIELDS.reduce<object>((rest, field) => withoutFormer(rest, field), {
    ...config,
    model,
    data: named,
    evaluation,
  });
  return hash(JSON.stringify(former, (_name, value: unknown) => sorted(value)));
}

function withoutFormer(config: object, [path, formerValue]: (typeof LATER_FIELDS)[number]): object {
  const [first = '', ...rest] = path.split('.');
  const value: unknown = first in config ? config[first as keyof typeof config] : undefined;
  const { [first]: _, ...others } = config as Record<string, unknown>;
  if (rest.length === 0) return isDeepStrictEqual(value, formerValue) ? others : config;
  if (typeof value !== 'object' || value === null) return config;
  return { ...config, [first]: withoutFormer(value, [rest.join('.'), formerValue]) };
}

/** The same value with its fields in alphabetical order. */
function sorted(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

/** Ten hexadecimal digits. */
export const hash = (text: string) => createHash('sha256').update(text).digest('hex').slice(0, 10);

/** @throws WeftError `invalid_argument` for a plan whose runs could not be compared. */
function checkPlan(sweep: SweepConfig, runs: readonly PlannedRun[], where: string): void {
  for (const run of runs) refuseUnmeasured(sweep, run, where);
  const sizes = new Map<number, string>();
  for (const { scale, params } of runs) {
    const other = sizes.get(params);
    if (other !== undefined && other !== scale)
      throw new WeftError(
        'invalid_argument',
        `${where}: the scales ${other} and ${scale} are one: N is ${params} in both`,
        {
          hint: 'give their decoders different sizes',
        },
      );
    sizes.set(params, scale);
  }
}

function refuseUnmeasured({ metric }: SweepConfig, { scale, config }: PlannedRun, where: string): void {
  const refuse = (why: string, hint: string): never => {
    throw new WeftError('invalid_argument', `${where}: metric is ${metric}, but ${why} in the scale ${scale}`, {
      hint,
    });
  };
  const [group, field] = metric.split('.');
  if (group === 'heldOutLoss') {
    if (config.evaluation.sequencesPerSource === 0)
      refuse('no sequences are held out', 'set evaluation.sequencesPerSource');
    const weight = new Map(Object.entries(config.data.weights)).get(field ?? '');
    if (field !== undefined && weight === undefined)
      refuse(`there is no source ${field}`, `compare by one of ${heldOutLosses(config)}`);
    if (weight === 0) refuse(`the weight of ${field} is 0`, 'change data.weights, or compare by another metric');
  }
  if (group === 'eval') refuseUnscored(metric, config, refuse);
  if (group === 'moe' && config.model.decoder.moe === null)
    refuse('there are no experts', 'set model.decoder.moe, or compare by another metric');
}

/** @throws what `refuse` throws when a run would not have the score. */
function refuseUnscored(metric: string, { evaluation }: RunConfig, refuse: (why: string, hint: string) => void): void {
  const [, task = '', shots = '', ...rest] = metric.split('.');
  const kinds = Object.values(evaluation.tasks).map(({ kind }) => kind === 'caption' || kind === 'question');
  const names = [...(kinds.includes(true) ? ['average'] : []), ...(kinds.includes(false) ? ['textAverage'] : [])];
  const known = [...Object.keys(evaluation.tasks), ...names];
  if (known.length === 0) refuse('there are no tasks to score', 'set evaluation.tasks');
  const all = known.flatMap((name) => evaluation.shots.map((each) => `eval.${name}.${each}`));
  if (!known.includes(task)) refuse(`there is no task ${task}`, `compare by one of ${all.join(', ')}`);
  if (rest.length > 0 || !evaluation.shots.some((each) => `${each}` === shots))
    refuse(`evaluation.shots is ${evaluation.shots.join(',')}`, `compare by one of ${all.join(', ')}`);
}

const heldOutLosses = ({ data }: RunConfig) =>
  ['', ...Object.keys(data.sources).map((source) => `.${source}`)].map((each) => `heldOutLoss${each}`).join(', ');

/**
 * Rates in the order in which a sweep tries them: the middle one first, then alternately above and below. So a good run to
 * compare with is known before the worst ones begin.
 */
export function centerOut<Item>(sorted: readonly Item[]): Item[] {
  const middle = Math.floor((sorted.length - 1) / 2);
  const distance = (index: number) => 2 * Math.abs(index - middle) - (index > middle ? 1 : 0);
  return sorted
    .map((item, index) => ({ item, index }))
    .toSorted((left, right) => distance(left.index) - distance(right.index))
    .map(({ item }) => item);
}
