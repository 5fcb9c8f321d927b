import type { RunConfig } from '@weft/config';
import { type PhaseContext, tf } from '@weft/engine';
import { BATCH_FIELDS, type Batch, type BatchField, lossParts, type ParameterSpec } from '@weft/model';
import { Beside } from './beside.js';
import { remoteExperts } from './experts/remote-experts.js';
import type { GradientBucket } from './gradient-buckets.js';

const CROSS_ENTROPY = 'crossEntropy';
const MOE_SIGNALS = 'moeSignals';

/**
 * One microbatch forwards and back: the gradients in flat buckets, with the totals behind those of bucket 0, and what
 * leaves for experts that live elsewhere.
 */
export function microbatchGradients(
  config: RunConfig,
  parameters: readonly ParameterSpec[],
  buckets: readonly GradientBucket[],
  context: PhaseContext,
): Record<string, tf.Tensor> {
  const fields = BATCH_FIELDS.map((name) => [name, context.input(name)] as const);
  const batch: Batch = Object.fromEntries(fields) as Record<BatchField, tf.Tensor>;
  const beside = new Beside();
  const experts = config.expertWorkers > 0 ? remoteExperts(context, beside) : undefined;
  const values = parameters.map(({ name }) => context.read(name));
  const { grads } = tf.valueAndGrads((...weights: tf.Tensor[]) => {
    const byName = new Map(parameters.map(({ name }, i) => [name, weights[i] as tf.Tensor]));
    const parts = lossParts(config.model, (name) => byName.get(name) as tf.Tensor, batch, experts);
    beside.keep(CROSS_ENTROPY, parts.crossEntropy);
    if (parts.moeSignals !== undefined) beside.keep(MOE_SIGNALS, parts.moeSignals);
    return parts.objective;
  })(values);
  const { [CROSS_ENTROPY]: crossEntropy, [MOE_SIGNALS]: moeSignals, ...leaving } = beside.take();
  const gradient = new Map(parameters.map(({ name }, i) => [name, grads[i] as tf.Tensor]));
  const totals = [tf.reshape(crossEntropy as tf.Tensor, [1]), tf.reshape(tf.sum(batch.lossMask_BT), [1])];
  if (moeSignals !== undefined) totals.push(moeSignals);
  return { ...intoBuckets(buckets, (name) => gradient.get(name) as tf.Tensor, totals as tf.Tensor1D[]), ...leaving };
}

/** Lays gradients into flat buckets. @param totals go behind those of bucket 0, as `TOTALS` names them */
export function intoBuckets(
  buckets: readonly GradientBucket[],
  gradient: (name: string) => tf.Tensor,
  totals: readonly tf.Tensor1D[],
): Record<string, tf.Tensor> {
  const flat = buckets.map(({ name, entries }, index) => {
    const gradients = entries.map((entry) => tf.reshape<tf.Rank.R1>(gradient(entry.name), [-1]));
    return [name, tf.concat1d([...gradients, ...(index === 0 ? totals : [])])] as const;
  });
  return Object.fromEntries(flat);
}
