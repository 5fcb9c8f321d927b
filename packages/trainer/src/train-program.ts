import type { RunConfig } from '@weft/config';
import { elementCount, type Phase, type PhaseContext, type Program, type TensorSpec, tf } from '@weft/engine';
import { type BatchField, batchSpecs, lossSum, modelParameters, type ParameterSpec } from '@weft/model';
import { adamwApply, adamwState, clipScale, globalNorm, scheduleFactor } from '@weft/optim';
import { type GradientBucket, gradientBuckets } from './gradient-buckets.js';

/** The training of one rank as a program: what it keeps, and the phases of a step. */
export interface TrainProgram extends Program {
  readonly parameters: readonly ParameterSpec[];
  readonly buckets: readonly GradientBucket[];
}

/** The phases of a step, in order; `accumulate` is `gradients` of every further microbatch. */
export type TrainPhase = 'gradients' | 'accumulate' | 'measure' | 'apply';

/**
 * - `gradients`: one microbatch → sums of the gradients in flat buckets, with loss sum and token count behind bucket 0.
 * - `accumulate`: the same, added to the buckets of the microbatches before.
 * - `measure`: reduced buckets → loss and gradient norm of the step.
 * - `apply`: reduced buckets → clipped AdamW update under the schedule.
 */
export function trainProgram(config: RunConfig): TrainProgram {
  const { model, data, microbatchSize } = config;
  const parameters = modelParameters(model);
  const buckets = gradientBuckets(parameters);
  const batch = batchSpecs(model, microbatchSize, data.imagesPerSequence);
  const bucketInputs: Record<string, TensorSpec> = Object.fromEntries(
    buckets.map(({ name, length }) => [name, { shape: [length], dtype: 'float32' }]),
  );

  const gradients = (context: PhaseContext) => microbatchGradients(config, parameters, buckets, context);
  const phases: Record<TrainPhase, Phase> = {
    gradients: { inputs: batch, run: gradients },
    accumulate: {
      inputs: { ...batch, ...bucketInputs },
      run: (context) => {
        const sums = gradients(context);
        return Object.fromEntries(Object.entries(sums).map(([name, sum]) => [name, tf.add(sum, context.input(name))]));
      },
    },
    measure: {
      inputs: bucketInputs,
      run: (context) => {
        const { lossSum, lossTokens } = totals(context, buckets);
        const norm = globalNorm(buckets.map((bucket) => flatGradient(context, bucket)));
        return { loss: tf.div(lossSum, lossTokens), gradNorm: tf.div(norm, lossTokens), lossTokens };
      },
    },
    apply: {
      inputs: {
        ...bucketInputs,
        gradNorm: { shape: [], dtype: 'float32' },
        step: { shape: [], dtype: 'float32' },
      },
      run: (context) => applyUpdate(config, parameters, buckets, context),
    },
  };
  const weights = Object.fromEntries(parameters.map(({ name, shape }) => [name, { shape, dtype: 'float32' } as const]));
  return { name: config.recipe, state: { ...weights, ...adamwState(parameters) }, phases, parameters, buckets };
}

function microbatchGradients(
  config: RunConfig,
  parameters: readonly ParameterSpec[],
  buckets: readonly GradientBucket[],
  context: PhaseContext,
): Record<string, tf.Tensor> {
  const fields = Object.keys(
    batchSpecs(config.model, config.microbatchSize, config.data.imagesPerSequence),
  ) as BatchField[];
  const batch = Object.fromEntries(fields.map((name) => [name, context.input(name)])) as Record<BatchField, tf.Tensor>;
  const values = parameters.map(({ name }) => context.read(name));
  const { value, grads } = tf.valueAndGrads((...weights: tf.Tensor[]) => {
    const byName = new Map(parameters.map(({ name }, i) => [name, weights[i] as tf.Tensor]));
    return lossSum(config.model, (name) => byName.get(name) as tf.Tensor, batch);
  })(values);
  const gradient = new Map(parameters.map(({ name }, i) => [name, grads[i] as tf.Tensor]));
  const totalsOfBatch = [tf.reshape(value, [1]), tf.reshape(tf.sum(batch.lossMask_BT), [1])];
  return Object.fromEntries(
    buckets.map(({ name, entries }, index) => {
      const flat = entries.map((entry) => tf.reshape(gradient.get(entry.name) as tf.Tensor, [-1]));
      return [name, tf.concat1d([...flat, ...(index === 0 ? totalsOfBatch : [])] as tf.Tensor1D[])];
    }),
  );
}

function applyUpdate(
  config: RunConfig,
  parameters: readonly ParameterSpec[],
  buckets: readonly GradientBucket[],
  context: PhaseContext,
): Record<string, tf.Tensor> {
  const { lossTokens } = totals(context, buckets);
  const clip = clipScale(context.input('gradNorm') as tf.Scalar, config.optimizer.clipNorm);
  const scale = tf.div(clip, lossTokens);
  const located = new Map(
    buckets.flatMap((bucket) => bucket.entries.map((entry) => [entry.name, { bucket, entry }] as const)),
  );
  const gradient = (name: string) => {
    const { bucket, entry } = located.get(name) as { bucket: GradientBucket; entry: GradientBucket['entries'][number] };
    const flat = tf.slice1d(context.input(bucket.name) as tf.Tensor1D, entry.offset, elementCount(entry.shape));
    return tf.mul(tf.reshape(flat, [...entry.shape]), scale);
  };
  const step = context.input('step') as tf.Scalar;
  const factor = scheduleFactor(config.optimizer, config.steps, step);
  adamwApply(context, config.optimizer, parameters, gradient, step, factor);
  return { learningRate: tf.mul(factor, config.optimizer.learningRate) };
}

function totals(context: PhaseContext, buckets: readonly GradientBucket[]) {
  const bucket = buckets[0] as GradientBucket;
  const flat = context.input(bucket.name) as tf.Tensor1D;
  const at = (offset: number) => tf.reshape(tf.slice1d(flat, bucket.gradientLength + offset, 1), []) as tf.Scalar;
  return { lossSum: at(0), lossTokens: at(1) };
}

function flatGradient(context: PhaseContext, bucket: GradientBucket): tf.Tensor {
  return tf.slice1d(context.input(bucket.name) as tf.Tensor1D, 0, bucket.gradientLength);
}
