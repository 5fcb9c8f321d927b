import type { OptimizerConfig } from '@weft/config';
import { elementCount, type Phase, type PhaseContext, type TensorSpec, tf } from '@weft/engine';
import type { ParameterSpec } from '@weft/model';
import { type GradientBucket, gradientBuckets, TOTALS } from './gradient-buckets.js';
import { adamwApply, adamwState, clipScale, globalNorm, scheduleFactor } from './optimizer/index.js';
import type { StatefulProgram } from './stored-state.js';

/** The training of one rank as a program: what it keeps, and the phases of a step. */
export interface TrainProgram extends StatefulProgram {
  readonly buckets: readonly GradientBucket[];
}

/** The phases of a step, in order; `accumulate` is `gradients` of every further microbatch. */
export type TrainPhase = 'gradients' | 'accumulate' | 'measure' | 'apply' | 'evaluate';

/** What is trained, and how its gradients are computed. */
export interface Trained {
  readonly name: string;
  readonly parameters: readonly ParameterSpec[];
  /** The inputs of one microbatch. */
  readonly batch: Readonly<Record<string, TensorSpec>>;
  /** One microbatch forwards and back: sums of the gradients, in buckets as `intoBuckets` fills them. */
  readonly gradients: (context: PhaseContext, buckets: readonly GradientBucket[]) => Record<string, tf.Tensor>;
  /** Elements of MoE signals; default: 0, of a dense model. */
  readonly signals?: number;
  readonly optimizer: OptimizerConfig;
  /** Of the whole run, for the schedule. */
  readonly steps: number;
  /** Whether a tensor of a checkpoint may be held by another process; default: none is. */
  readonly isElsewhere?: (name: string) => boolean;
}

/**
 * The program that `trainStep` runs:
 * - `gradients`: one microbatch → sums of the gradients in flat buckets, with the totals of the step behind bucket 0;
 * - `accumulate`: the same, added to the buckets of the microbatches before;
 * - `measure`: reduced buckets → loss, gradient norm and MoE signals of the step;
 * - `apply`: reduced buckets → clipped AdamW update under the schedule.
 */
export function stepProgram(trained: Trained): TrainProgram {
  const { name, parameters, batch, signals = 0, isElsewhere = () => false } = trained;
  const buckets = gradientBuckets(parameters, signals);
  const bucketInputs: Record<string, TensorSpec> = Object.fromEntries(
    buckets.map(({ name, length }) => [name, { shape: [length], dtype: 'float32' }]),
  );
  const phases: Record<Exclude<TrainPhase, 'evaluate'>, Phase> = {
    gradients: { inputs: batch, run: (context) => trained.gradients(context, buckets) },
    accumulate: {
      inputs: { ...batch, ...bucketInputs },
      run: (context) => {
        const sums = trained.gradients(context, buckets);
        const added = buckets.map(({ name }) => [name, tf.add(sums[name] as tf.Tensor, context.input(name))] as const);
        return { ...sums, ...Object.fromEntries(added) };
      },
    },
    measure: {
      inputs: bucketInputs,
      run: (context) => {
        const { lossSum, lossTokens, moeSignals } = totals(context, buckets);
        const norm = globalNorm(buckets.map((bucket) => flatGradient(context, bucket)));
        const signals = moeSignals === undefined ? {} : { moeSignals };
        return { loss: tf.div(lossSum, lossTokens), gradNorm: tf.div(norm, lossTokens), lossTokens, ...signals };
      },
    },
    apply: {
      inputs: {
        ...bucketInputs,
        gradNorm: { shape: [], dtype: 'float32' },
        step: { shape: [], dtype: 'float32' },
      },
      run: (context) => applyUpdate(trained, buckets, context),
    },
  };
  const weights = Object.fromEntries(parameters.map(({ name, shape }) => [name, { shape, dtype: 'float32' } as const]));
  const state = { ...weights, ...adamwState(parameters) };
  const tensors = Object.entries(state).map(([name, { shape }]) => ({ name, shape }));
  const stored = { tensors, firstExpert: 0, isElsewhere };
  return { name, state, phases, parameters, stored, buckets };
}

function applyUpdate(
  { optimizer, steps, parameters }: Trained,
  buckets: readonly GradientBucket[],
  context: PhaseContext,
): Record<string, tf.Tensor> {
  const { lossTokens } = totals(context, buckets);
  const clip = clipScale(context.input('gradNorm') as tf.Scalar, optimizer.clipNorm);
  const located = new Map(
    buckets.flatMap((bucket) => bucket.entries.map((entry) => [entry.name, { bucket, entry }] as const)),
  );
  const gradient = (name: string) => {
    const { bucket, entry } = located.get(name) as { bucket: GradientBucket; entry: GradientBucket['entries'][number] };
    const flat = tf.slice1d(context.input(bucket.name) as tf.Tensor1D, entry.offset, elementCount(entry.shape));
    return tf.reshape(flat, [...entry.shape]);
  };
  const step = context.input('step') as tf.Scalar;
  const factor = scheduleFactor(optimizer, steps, step);
  adamwApply(context, optimizer, parameters, { gradient, gradientScale: tf.div(clip, lossTokens), step, factor });
  return { learningRate: tf.mul(factor, optimizer.learningRate) };
}

function totals(context: PhaseContext, buckets: readonly GradientBucket[]) {
  const bucket = buckets[0] as GradientBucket;
  const flat = context.input(bucket.name) as tf.Tensor1D;
  const at = (offset: number) => tf.reshape(tf.slice1d(flat, bucket.gradientLength + offset, 1), []) as tf.Scalar;
  const signalsAt = bucket.gradientLength + TOTALS.length;
  const hasSignals = bucket.length > signalsAt;
  const moeSignals = hasSignals ? tf.slice1d(flat, signalsAt, bucket.length - signalsAt) : undefined;
  return { lossSum: at(0), lossTokens: at(1), moeSignals };
}

function flatGradient(context: PhaseContext, bucket: GradientBucket): tf.Tensor {
  return tf.slice1d(context.input(bucket.name) as tf.Tensor1D, 0, bucket.gradientLength);
}
