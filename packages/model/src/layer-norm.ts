// Legend: … any leading dimensions, D width.
import { tf } from '@weft/engine';
import { leadingAxes } from './leading-axes.js';
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
 * The gradient is written out because tfjs's own for `mean` multiplies by a constant of ones as large as x.
 */
export function layerNorm(x: tf.Tensor, p: Parameters, epsilon: number): tf.Tensor {
  const gain_D = p('gain');
  const bias_D = p('bias');
  return withGradient(
    [x, gain_D, bias_D],
    () => {
      const centred = tf.sub(x, tf.mean(x, -1, true));
      const scale = tf.rsqrt(tf.add(tf.mean(tf.square(centred), -1, true), epsilon));
      const normal = tf.mul(centred, scale);
      return { value: tf.add(tf.mul(normal, gain_D), bias_D), saved: { normal, scale, gain_D } };
    },
    (dy, { normal, scale, gain_D }) => {
      const dNormal = tf.mul(dy, gain_D);
      const along = tf.mul(normal, tf.mean(tf.mul(dNormal, normal), -1, true));
      const dx = tf.mul(tf.sub(tf.sub(dNormal, tf.mean(dNormal, -1, true)), along), scale);
      return [dx, tf.sum(tf.mul(dy, normal), leadingAxes(x)), tf.sum(dy, leadingAxes(x))];
    },
  );
}
