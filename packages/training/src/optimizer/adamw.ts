import type { OptimizerConfig } from '@weft/config';
import { adamUpdate, type PhaseContext, type TensorSpec, tf } from '@weft/engine';

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

/** What one step needs besides parameters and configuration. */
export interface AdamwStep {
  /** The gradient of a parameter by name, already reduced over ranks. */
  readonly gradient: (name: string) => tf.Tensor;
  /** c, by which gradients are multiplied first, as clipping does. */
  readonly gradientScale: tf.Scalar;
  /** t, from 1, float32. */
  readonly step: tf.Scalar;
  /** s(t). */
  readonly factor: tf.Scalar;
}

/**
 * One step of fully decoupled AdamW (Loshchilov and Hutter, 2019, as AXLearn trains MM1), with g the scaled gradient:
 *
 *     m ← β₁·m + (1 − β₁)·g        v ← β₂·v + (1 − β₂)·g²
 *     p ← p − s(t)·( η·m̂ / (√v̂ + ε) + λ·p ),   m̂ = m/(1 − β₁ᵗ),  v̂ = v/(1 − β₂ᵗ)
 *
 * λ is *not* multiplied by η: with MM1's λ = 0.1·η this is what PyTorch and optax call a weight decay of 0.1.
 * Parameters and moments are assigned in `context`; parameters without `weightDecay` have λ = 0.
 */
export function adamwApply(
  context: PhaseContext,
  config: AdamwConfig,
  parameters: readonly OptimizedParameter[],
  { gradient, gradientScale, step, factor }: AdamwStep,
): void {
  const { learningRate, weightDecay, beta1, beta2, epsilon } = config;
  const kept = tf.sub(1, tf.mul(factor, weightDecay));
  const scalars = { learningRate: tf.mul(factor, learningRate), beta1, beta2, epsilon, step, gradientScale } as const;

  for (const { name, weightDecay: decays } of parameters) {
    const before = {
      parameter: context.read(name),
      firstMoment: context.read(firstMoment(name)),
      secondMoment: context.read(secondMoment(name)),
    };
    const after = adamUpdate(before, gradient(name), { ...scalars, kept: decays ? kept : undefined });
    context.assign(name, after.parameter);
    context.assign(firstMoment(name), after.firstMoment);
    context.assign(secondMoment(name), after.secondMoment);
  }
}

function firstMoment(name: string): string {
  return `adam/m/${name}`;
}

function secondMoment(name: string): string {
  return `adam/v/${name}`;
}
