import { kernelBackend } from './kernel-backend.js';
import { itemAt } from './required.js';
import { tf } from './tf.js';

/** The recorded op behind `adamUpdate`; a backend makes of it what writes into the variables. */
export const ADAM_UPDATE = 'AdamUpdate';

/** A parameter and its two moments. */
export interface AdamTensors {
  readonly parameter: tf.Tensor;
  readonly firstMoment: tf.Tensor;
  readonly secondMoment: tf.Tensor;
}

/** What an update takes besides the tensors of the parameter. The tensors are scalars, float32. */
export interface AdamScalars {
  /** The step size η·s(t). */
  readonly learningRate: tf.Tensor;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  /** t, from 1, float32: for the correction of the moments' bias. */
  readonly step: tf.Tensor;
  /** c, by which the gradient is multiplied first, as clipping does. */
  readonly gradientScale: tf.Tensor;
  /** k, what weight decay leaves of the parameter; default: all of it, 1. */
  readonly kept?: tf.Tensor | undefined;
  /** What the parameter may be at most; default: there is no limit. The update is then not the op that a backend fuses. */
  readonly maximum?: number | undefined;
}

/**
 * One step of Adam (Kingma and Ba, 2015) on one parameter:
 *
 *     m ← β₁·m + (1 − β₁)·c·g      v ← β₂·v + (1 − β₂)·(c·g)²
 *     p ← k·p − η·m̂ / (√v̂ + ε),   m̂ = m/(1 − β₁ᵗ),  v̂ = v/(1 − β₂ᵗ)
 *
 * On the compiled graph it is one pass over memory that writes into the variables; there the tensors must be variables
 * as they are, and the results be assigned to the same ones and used for nothing else. Elsewhere it is plain tfjs.
 */
export function adamUpdate(tensors: AdamTensors, gradient: tf.Tensor, scalars: AdamScalars): AdamTensors {
  const { parameter, firstMoment, secondMoment } = tensors;
  const { learningRate, beta1, beta2, epsilon, step, gradientScale, kept, maximum } = scalars;
  const power1 = tf.pow(beta1, step);
  const power2 = tf.pow(beta2, step);
  const native = kernelBackend();
  if (native?.isRecording && maximum === undefined) {
    // The kernel's ε stands beside the uncorrected √v: scaled so, it is the ε of the formula above.
    const ownEpsilon = tf.mul(epsilon, tf.sqrt(tf.sub(1, power2)));
    const constants = [power1, power2, learningRate, tf.scalar(beta1), tf.scalar(beta2), ownEpsilon];
    const inputs = [parameter, firstMoment, secondMoment, gradient, gradientScale, ...constants];
    if (kept !== undefined) inputs.push(kept);
    const updated = native.rawOutputs(ADAM_UPDATE, inputs, 3, { T: { type: 'float32' } });
    return { parameter: itemAt(updated, 0), firstMoment: itemAt(updated, 1), secondMoment: itemAt(updated, 2) };
  }
  const scaled = tf.mul(gradient, gradientScale);
  const m = tf.add(tf.mul(firstMoment, beta1), tf.mul(scaled, 1 - beta1));
  const v = tf.add(tf.mul(secondMoment, beta2), tf.mul(tf.square(scaled), 1 - beta2));
  const stepSize = tf.div(learningRate, tf.sub(1, power1));
  const root = tf.add(tf.mul(tf.sqrt(v), tf.rsqrt(tf.sub(1, power2))), epsilon);
  const decayed = kept === undefined ? parameter : tf.mul(parameter, kept);
  const updated = tf.sub(decayed, tf.div(tf.mul(m, stepSize), root));
  const limited = maximum === undefined ? updated : tf.minimum(updated, maximum);
  return { parameter: limited, firstMoment: m, secondMoment: v };
}

/** The inputs of a recorded update by name, in their order. */
export function adamInputs<T>(inputs: readonly T[]) {
  return {
    p: itemAt(inputs, 0),
    m: itemAt(inputs, 1),
    v: itemAt(inputs, 2),
    gradient: itemAt(inputs, 3),
    gradientScale: itemAt(inputs, 4),
    power1: itemAt(inputs, 5),
    power2: itemAt(inputs, 6),
    learningRate: itemAt(inputs, 7),
    beta1: itemAt(inputs, 8),
    beta2: itemAt(inputs, 9),
    epsilon: itemAt(inputs, 10),
    kept: inputs[11],
  };
}
