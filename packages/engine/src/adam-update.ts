import { nativeBackend } from './native-backend.js';
import { tf } from './tf.js';

/** The recorded op behind `adamUpdate`; `graph/compile-phase.ts` turns it into TensorFlow's in-place kernel. */
export const ADAM_UPDATE = 'AdamUpdate';

/** A parameter and its two moments. */
export interface AdamTensors {
  readonly parameter: tf.Tensor;
  readonly firstMoment: tf.Tensor;
  readonly secondMoment: tf.Tensor;
}

export interface AdamScalars {
  /** The step size η·s(t). */
  readonly learningRate: tf.Tensor;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  /** t, from 1, float32: for the correction of the moments' bias. */
  readonly step: tf.Tensor;
}

/**
 * One step of Adam (Kingma and Ba, 2015) on one parameter:
 *
 *     m ← β₁·m + (1 − β₁)·g        v ← β₂·v + (1 − β₂)·g²
 *     p ← p − η·m̂ / (√v̂ + ε),     m̂ = m/(1 − β₁ᵗ),  v̂ = v/(1 − β₂ᵗ)
 *
 * On the compiled graph it is one pass over memory that writes into the variables; there each of the results must be
 * assigned to a variable and used for nothing else. Elsewhere it is plain tfjs.
 */
export function adamUpdate(tensors: AdamTensors, gradient: tf.Tensor, scalars: AdamScalars): AdamTensors {
  const { parameter, firstMoment, secondMoment } = tensors;
  const { learningRate, beta1, beta2, epsilon, step } = scalars;
  const power1 = tf.pow(beta1, step);
  const power2 = tf.pow(beta2, step);
  const native = nativeBackend();
  if (native?.isRecording) {
    // The kernel's ε stands beside the uncorrected √v: scaled so, it is the ε of the formula above.
    const ownEpsilon = tf.mul(epsilon, tf.sqrt(tf.sub(1, power2)));
    const inputs = [parameter, firstMoment, secondMoment, power1, power2, learningRate].concat([
      tf.scalar(beta1),
      tf.scalar(beta2),
      ownEpsilon,
      gradient,
    ]);
    const [p, m, v] = native.rawOp(ADAM_UPDATE, inputs, 3, { T: { type: 'float32' } });
    return { parameter: p as tf.Tensor, firstMoment: m as tf.Tensor, secondMoment: v as tf.Tensor };
  }
  const m = tf.add(tf.mul(firstMoment, beta1), tf.mul(gradient, 1 - beta1));
  const v = tf.add(tf.mul(secondMoment, beta2), tf.mul(tf.square(gradient), 1 - beta2));
  const stepSize = tf.div(learningRate, tf.sub(1, power1));
  const root = tf.add(tf.mul(tf.sqrt(v), tf.rsqrt(tf.sub(1, power2))), epsilon);
  return { parameter: tf.sub(parameter, tf.div(tf.mul(m, stepSize), root)), firstMoment: m, secondMoment: v };
}
