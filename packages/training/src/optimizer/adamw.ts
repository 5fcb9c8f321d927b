import { OPTIMIZER_PREFIXES, type OptimizerConfig } from '@weft/config';
import { adamUpdate, type PhaseContext, type TensorSpec, tf } from '@weft/tensor';

/** The L2 norm of all gradients together, as if they were one vector. Not finite when any of them is not. */
export function globalNorm(gradients: readonly tf.Tensor[]): tf.Tensor {
  return tf.sqrt(tf.addN(gradients.map((gradient) => tf.sum(tf.square(gradient)))));
}

/** The factor, at most 1, that brings gradients of this norm down to `clipNorm`. */
export function clipScale(norm: tf.Tensor, clipNorm: number): tf.Tensor {
  return tf.div(clipNorm, tf.maximum(norm, clipNorm));
}

/** A parameter as the optimizer sees it. */
export interface OptimizedParameter {
  readonly name: string;
  readonly shape: readonly number[];
  /** Whether λ pulls it towards 0. */
  readonly weightDecay: boolean;
  /** By what η and λ are multiplied for it. Default: 1. */
  readonly learningRateFactor?: number | undefined;
  /** Whether its first axis counts arrays that stand for themselves, as experts do. Default: false. */
  readonly isStack?: boolean | undefined;
  /** What no update takes it above. Default: there is no such limit. */
  readonly maximum?: number | undefined;
}

/** The settings that the update reads. */
export type AdamwConfig = Pick<OptimizerConfig, 'learningRate' | 'weightDecay' | 'beta1' | 'beta2' | 'epsilon'>;

/** The state of the optimizer: two moments for every parameter, named by `momentNames`. All start at 0. */
export function adamwState(
  parameters: readonly Pick<OptimizedParameter, 'name' | 'shape'>[],
): Readonly<Record<string, TensorSpec>> {
  return Object.fromEntries(
    parameters.flatMap(({ name, shape }) =>
      momentNames(name).map((moment) => [moment, { shape, dtype: 'float32' } as const]),
    ),
  );
}

/** The quantities that differ from step to step. */
export interface OptimizerStep {
  /** The gradient of a parameter by name, already reduced over ranks. */
  readonly gradient: (name: string) => tf.Tensor;
  /** What gradients are multiplied by first: clipping, and the division by the loss tokens. */
  readonly gradientScale: tf.Tensor;
  /** t, from 1, float32. */
  readonly step: tf.Tensor;
  /** s(t), the schedule. */
  readonly factor: tf.Tensor;
}

/**
 * One step of fully decoupled AdamW (Loshchilov and Hutter, 2019, as AXLearn trains MM1), with g the scaled gradient:
 *
 *     m ← β₁·m + (1 − β₁)·g        v ← β₂·v + (1 − β₂)·g²
 *     p ← p − s(t)·( η·m̂ / (√v̂ + ε) + λ·p ),   m̂ = m/(1 − β₁ᵗ),  v̂ = v/(1 − β₂ᵗ)
 *
 * λ is *not* multiplied by η: with MM1's λ = 0.1·η this is what PyTorch and optax call a weight decay of 0.1.
 * Parameters and moments are assigned in `context`; parameters without `weightDecay` have λ = 0, and η and λ of a parameter
 * are multiplied by its `learningRateFactor`.
 */
export function adamwApply(
  context: PhaseContext,
  config: AdamwConfig,
  parameters: readonly OptimizedParameter[],
  { gradient, gradientScale, step, factor }: OptimizerStep,
): void {
  const { learningRate, weightDecay, beta1, beta2, epsilon } = config;
  const rates = new Map<number, { readonly kept: tf.Tensor; readonly learningRate: tf.Tensor }>();
  const rateOf = (own: number) => {
    const rate = rates.get(own) ?? {
      kept: tf.sub(1, tf.mul(factor, weightDecay * own)),
      learningRate: tf.mul(factor, learningRate * own),
    };
    rates.set(own, rate);
    return rate;
  };

  for (const { name, weightDecay: decays, learningRateFactor = 1, maximum } of parameters) {
    const rate = rateOf(learningRateFactor);
    const scalars = { learningRate: rate.learningRate, beta1, beta2, epsilon, step, gradientScale } as const;
    const [firstMoment, secondMoment] = momentNames(name);
    const before = {
      parameter: context.read(name),
      firstMoment: context.read(firstMoment),
      secondMoment: context.read(secondMoment),
    };
    const after = adamUpdate(before, gradient(name), { ...scalars, kept: decays ? rate.kept : undefined, maximum });
    context.assign(name, after.parameter);
    context.assign(firstMoment, after.firstMoment);
    context.assign(secondMoment, after.secondMoment);
  }
}

/** Where the state holds the moments m and v of a parameter. */
function momentNames(parameter: string): readonly [firstMoment: string, secondMoment: string] {
  const { firstMoment, secondMoment } = OPTIMIZER_PREFIXES;
  return [`${firstMoment}/${parameter}`, `${secondMoment}/${parameter}`];
}
