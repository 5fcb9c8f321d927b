import type { OptimizerConfig } from '@weft/config';
import { tf } from '@weft/tensor';

/** What the schedule needs of the optimizer's configuration. */
export type ScheduleConfig = Pick<OptimizerConfig, 'warmupSteps' | 'finalLearningRateRatio'>;

/**
 * The schedule s(t) in the graph: rises linearly to 1 at step `warmupSteps`, then falls as half a cosine to
 * `finalLearningRateRatio` at step `steps`, and stays there (MM1: 2,000 steps of warm-up, ratio 0.1).
 * @param steps optimizer steps of the whole run
 * @param step the step being taken, from 1, float32
 */
export function scheduleFactor(config: ScheduleConfig, steps: number, step: tf.Tensor): tf.Tensor {
  const { warmupSteps, finalLearningRateRatio } = config;
  const warmup = tf.minimum(tf.div(step, Math.max(1, warmupSteps)), 1);
  const progress = tf.clipByValue(tf.div(tf.sub(step, warmupSteps), decaySteps(config, steps)), 0, 1);
  const cosine = tf.mul(tf.add(tf.cos(tf.mul(progress, Math.PI)), 1), (1 - finalLearningRateRatio) / 2);
  return tf.mul(warmup, tf.add(cosine, finalLearningRateRatio));
}

/** The same schedule on the host, for what is shown and logged. */
export function scheduleFactorAt(config: ScheduleConfig, steps: number, step: number): number {
  const { warmupSteps, finalLearningRateRatio } = config;
  const warmup = Math.min(step / Math.max(1, warmupSteps), 1);
  const progress = Math.min(Math.max((step - warmupSteps) / decaySteps(config, steps), 0), 1);
  const cosine = ((Math.cos(progress * Math.PI) + 1) * (1 - finalLearningRateRatio)) / 2;
  return warmup * (cosine + finalLearningRateRatio);
}

/** Steps from the peak to the end; at least 1, so that a run of nothing but warm-up divides by no zero. */
function decaySteps({ warmupSteps }: ScheduleConfig, steps: number): number {
  return Math.max(1, steps - warmupSteps);
}
