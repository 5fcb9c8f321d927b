import type { OptimizerConfig } from '@weft/config';
import { type PhaseContext, type TensorSpec, tf } from '@weft/engine';

/** A parameter as the optimizer sees it; every `ParameterSpec` of the model is one. */
export interface OptimizedParameter {
  readonly name: string;
  readonly shape: readonly number[];
  /** Whether λ pulls it towards 0. */
  readonly weightDecay: boolean;
}

/** What the update needs of the optimizer's configuration. */
export type AdamwConfig = Pick<OptimizerConfig, 'learningRate' | 'weightDecay' | 'beta1' | 'beta2' | 'epsilon'>;

/** The resident state of the optimizer: the two moments of every parameter. All start at 0. */
export function adamwState(
  parameters: readonly Pick<OptimizedParameter, 'name' | 'shape'>[],
): Readonly<Record<string, TensorSpec>> {
  return Object.fromEntries(
    parameters.flatMap(({ name, shape }) =>
      [firstMoment(name), secondMoment(name)].map((state) => [state, { shape, dtype: 'float32' } as const]),
    ),
  );
}

/**
 * One step of fully decoupled AdamW (Loshchilov and Hutter, 2019, as AXLearn trains MM1):
 *
 *     m ← β₁·m + (1 − β₁)·g        v ← β₂·v + (1 − β₂)·g²
 *     p ← p − s(t)·( η·m̂ / (√v̂ + ε) + λ·p ),   m̂ = m/(1 − β₁ᵗ),  v̂ = v/(1 − β₂ᵗ)
 *
 * λ is *not* multiplied by η: with MM1's λ = 0.1·η this is what PyTorch and optax call a weight decay of 0.1.
 * Parameters and moments are assigned in `context`; parameters without `weightDecay` have λ = 0.
 * @param gradient the gradient of a parameter by name, already reduced over ranks and clipped
 * @param step t, from 1, float32
 * @param factor s(t)
 */
export function adamwApply(
  context: PhaseContext,
  config: AdamwConfig,
  parameters: readonly OptimizedParameter[],
  gradient: (name: string) => tf.Tensor,
  step: tf.Scalar,
  factor: tf.Scalar,
): void {
  const { learningRate, weightDecay, beta1, beta2, epsilon } = config;
  // The bias corrections are scalars: folded into the step size and the root, they cost no pass over the arrays.
  const stepSize = tf.div(tf.mul(factor, learningRate), tf.sub(1, tf.pow(beta1, step)));
  const rootCorrection = tf.rsqrt(tf.sub(1, tf.pow(beta2, step)));
  const kept = tf.sub(1, tf.mul(factor, weightDecay));

  for (const { name, weightDecay: decays } of parameters) {
    const g = gradient(name);
    const m = tf.add(tf.mul(context.read(firstMoment(name)), beta1), tf.mul(g, 1 - beta1));
    const v = tf.add(tf.mul(context.read(secondMoment(name)), beta2), tf.mul(tf.square(g), 1 - beta2));
    const update = tf.div(tf.mul(m, stepSize), tf.add(tf.mul(tf.sqrt(v), rootCorrection), epsilon));
    const p = context.read(name);
    context.assign(firstMoment(name), m);
    context.assign(secondMoment(name), v);
    context.assign(name, tf.sub(decays ? tf.mul(p, kept) : p, update));
  }
}

function firstMoment(name: string): string {
  return `adam/m/${name}`;
}

function secondMoment(name: string): string {
  return `adam/v/${name}`;
}
