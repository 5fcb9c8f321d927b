import { tf } from '@weft/engine';

/** The L2 norm of all gradients together, as if they were one vector. Not finite when any of them is not. */
export function globalNorm(gradients: readonly tf.Tensor[]): tf.Scalar {
  return tf.sqrt(tf.addN<tf.Scalar>(gradients.map((gradient) => tf.sum<tf.Scalar>(tf.square(gradient)))));
}

/** The factor, at most 1, that brings gradients of this norm down to `clipNorm`. */
export function clipScale(norm: tf.Scalar, clipNorm: number): tf.Scalar {
  return tf.div(clipNorm, tf.maximum(norm, clipNorm));
}
