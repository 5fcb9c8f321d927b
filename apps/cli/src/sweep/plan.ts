import { createHash } from 'node:crypto';
import { type ConfigLayer, type RunConfig, type RunConfigInput, resolveLayers, type SweepConfig } from '@weft/config';
import { middleFirst, parameterCounts } from '@weft/scaling';
import { baseLayers } from '../resolve-run.js';
import { checkPlan } from './check-plan.js';

/** One run of a sweep before it is launched. */
export interface PlannedRun {
  readonly scale: string;
  /** N of the law. */
  readonly params: number;
  /** D: positions of all sequences of the run. */
  readonly tokens: number;
  readonly learningRate: number;
  readonly seed: number;
  readonly config: RunConfig;
  /** Names everything that makes the run what it is: runs of one key come to the same. */
  readonly key: string;
}

/** A size to predict for. */
export interface PlannedPrediction {
  readonly name: string;
  readonly params: number;
  readonly tokens: number;
}

export interface SweepPlan {
  /** The name and a hash of all runs: the same file gives the same sweep. */
  readonly id: string;
  readonly sweep: SweepConfig;
  /** Scale by scale; within one, the rates from the middle outwards, each with all its seeds. */
  readonly runs: readonly PlannedRun[];
  readonly predictions: readonly PlannedPrediction[];
}

/** Resolves every run of a sweep. Errors as `resolveRun`, naming the scale, and as `checkPlan`. */
export async function planSweep(sweep: SweepConfig, where: string): Promise<SweepPlan> {
  const base = [...(await baseLayers(sweep.recipe)), layerOf(sweep.run, `${where}: run`)];
  const runs = sweep.scales.flatMap((scale) =>
    middleFirst(scale.learningRates).flatMap((learningRate) =>
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

function layerOf(value: RunConfigInput, where: string): ConfigLayer {
  return { value, where: () => where };
}

function sizeOf({ model, steps, globalBatchSize }: RunConfig) {
  return { params: parameterCounts(model).backbone, tokens: steps * globalBatchSize * model.sequenceLength };
}

/** How a run queues changes when it trains, not what comes out. */
function keyOf({ queue: _, ...config }: RunConfig): string {
  return hash(JSON.stringify(config, (_name, value: unknown) => sorted(value)));
}

/** The same fields in the same order, whatever order they were written in. */
function sorted(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

const hash = (text: string) => createHash('sha256').update(text).digest('hex').slice(0, 10);
