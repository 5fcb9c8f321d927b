// Legend: … any leading dimensions, D width.
import { tf } from '@weft/engine';
import { leadingAxes } from './leading-axes.js';
import { withGradient } from './with-gradient.js';

/**
 * Root-mean-square normalisation over the last dimension (Zhang and Sennrich, 2019):
 * y = x / √(mean(x²) + ε) · gain, shape unchanged.
 *
 * The gradient is written out because tfjs's own for `mean` multiplies by a constant of ones as large as x.
 */
export function rmsNorm(x: tf.Tensor, gain_D: tf.Tensor, epsilon: number): tf.Tensor {
  return withGradient(
    [x, gain_D],
    () => {
      const scale = tf.rsqrt(tf.add(tf.mean(tf.square(x), -1, true), epsilon));
      const normal = tf.mul(x, scale);
      return { value: tf.mul(normal, gain_D), saved: { normal, scale, gain_D } };
    },
    (dy, { normal, scale, gain_D }) => {
      const dNormal = tf.mul(dy, gain_D);
      const along = tf.mul(normal, tf.mean(tf.mul(dNormal, normal), -1, true));
      return [tf.mul(tf.sub(dNormal, along), scale), tf.sum(tf.mul(dy, normal), leadingAxes(x))];
    },
  );
}
