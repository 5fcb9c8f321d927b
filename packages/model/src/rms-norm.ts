// Legend: … any leading dimensions, R rows (every leading dimension in one), D width.
import { tf } from '@weft/tensor';
import { withGradient } from './with-gradient.js';

/**
 * Root-mean-square normalisation over the last dimension (Zhang and Sennrich, 2019):
 * y = x / √(mean(x²) + ε) · gain, shape unchanged.
 *
 * The gradient is written out so that it takes few passes over memory. With s = 1 / √(mean(x²) + ε):
 *
 *     dx = s·dy·gain − x·s³·mean(x·dy·gain)        dgain = Σ over rows of s·x·dy
 *
 * Both sums are products of x·dy with a vector.
 */
export function rmsNorm(x: tf.Tensor, gain_D: tf.Tensor, epsilon: number): tf.Tensor {
  const width = gain_D.size;
  const x_RD = tf.reshape(x, [-1, width]);
  const y_RD = withGradient(
    [x_RD, gain_D],
    () => {
      const scale_R1 = tf.rsqrt(tf.add(tf.mean(tf.square(x_RD), 1, true), epsilon));
      return { value: tf.mul(tf.mul(x_RD, scale_R1), gain_D), saved: { x_RD, scale_R1, gain_D } };
    },
    (dy_RD, { x_RD, scale_R1, gain_D }) => {
      const along_RD = tf.mul(dy_RD, x_RD);
      const dScale_R1 = tf.matMul(along_RD, tf.reshape(gain_D, [width, 1]));
      const pull_R1 = tf.mul(dScale_R1, tf.mul(tf.mul(scale_R1, tf.square(scale_R1)), 1 / width));
      const dx_RD = tf.sub(tf.mul(tf.mul(dy_RD, gain_D), scale_R1), tf.mul(x_RD, pull_R1));
      return [dx_RD, tf.reshape(tf.matMul(scale_R1, along_RD, true), [width])];
    },
  );
  return tf.reshape(y_RD, x.shape);
}
