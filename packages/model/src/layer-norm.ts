// Legend: … any leading dimensions, R rows (every leading dimension in one), D width.
import { tf } from '@weft/tensor';
import { bias, gain, type ParameterSpec, type Parameters } from './parameters.js';
import { withGradient } from './with-gradient.js';

/** `gain` [D] and `bias` [D]. */
export function layerNormParameters(width: number): readonly ParameterSpec[] {
  return [gain('gain', width), bias('bias', width)];
}

/**
 * Layer normalisation over the last dimension (Ba et al., 2016): y = (x − mean) / √(variance + ε) · gain + bias,
 * shape unchanged. On NHWC activations this is the "LayerNorm2d" of convolutional networks.
 *
 * The gradient is written out so that it takes few passes over memory: all its sums are products with a vector.
 */
export function layerNorm(x: tf.Tensor, p: Parameters, epsilon: number): tf.Tensor {
  const gain_D = p('gain');
  const bias_D = p('bias');
  const width = gain_D.size;
  const x_RD = tf.reshape(x, [-1, width]);
  const y_RD = withGradient(
    [x_RD, gain_D, bias_D],
    () => {
      const centred_RD = tf.sub(x_RD, tf.mean(x_RD, 1, true));
      const scale_R1 = tf.rsqrt(tf.add(tf.mean(tf.square(centred_RD), 1, true), epsilon));
      const normal_RD = tf.mul(centred_RD, scale_R1);
      return { value: tf.add(tf.mul(normal_RD, gain_D), bias_D), saved: { normal_RD, scale_R1, gain_D } };
    },
    (dy_RD, { normal_RD, scale_R1, gain_D }) => {
      const along_RD = tf.mul(dy_RD, normal_RD);
      const gain_D1 = tf.reshape(gain_D, [width, 1]);
      const meanOf = (z_RD: tf.Tensor) => tf.mul(tf.matMul(z_RD, gain_D1), tf.mul(scale_R1, 1 / width));
      const scaled_RD = tf.mul(tf.mul(dy_RD, gain_D), scale_R1);
      const dx_RD = tf.sub(tf.sub(scaled_RD, tf.mul(normal_RD, meanOf(along_RD))), meanOf(dy_RD));
      return [dx_RD, tf.sum(along_RD, 0), tf.sum(dy_RD, 0)];
    },
  );
  return tf.reshape(y_RD, x.shape);
}
