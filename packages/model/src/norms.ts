// Legend: … any leading dimensions, R rows (every leading dimension in one), D width.
import { customGradient, tf } from '@weft/tensor';
import { bias, normScale, type ParameterSpec, type Parameters } from './parameters.js';

/**
 * Root-mean-square normalisation over the last dimension (Zhang and Sennrich, 2019), shape unchanged:
 * y = x / √(mean(x²) + ε) · scale.
 * A row keeps its direction and loses its length, so a block reads the same range of numbers at every depth. Unlike
 * LayerNorm it neither subtracts the mean nor adds a bias.
 *
 * The gradient is written by hand so that it takes few passes over memory. With r = 1 / √(mean(x²) + ε):
 *
 *     dx = r·dy·scale − x·r³·mean(x·dy·scale)        dscale = Σ over rows of r·x·dy
 *
 * Both sums are products of x·dy with a vector.
 * @param scale_D one learned factor per channel
 */
export function rmsNorm(x: tf.Tensor, scale_D: tf.Tensor, epsilon: number): tf.Tensor {
  const width = scale_D.size;
  const x_RD = tf.reshape(x, [-1, width]);
  const y_RD = customGradient(
    [x_RD, scale_D],
    () => {
      const inverseRms_R1 = tf.rsqrt(tf.add(tf.mean(tf.square(x_RD), 1, true), epsilon));
      return { value: tf.mul(tf.mul(x_RD, inverseRms_R1), scale_D), saved: { x_RD, inverseRms_R1, scale_D } };
    },
    (dy_RD, { x_RD, inverseRms_R1, scale_D }) => {
      const xTimesDy_RD = tf.mul(dy_RD, x_RD);
      const dInverseRms_R1 = tf.matMul(xTimesDy_RD, tf.reshape(scale_D, [width, 1]));
      const cubed_R1 = tf.mul(inverseRms_R1, tf.square(inverseRms_R1));
      const perX_R1 = tf.mul(dInverseRms_R1, tf.mul(cubed_R1, 1 / width));
      const dx_RD = tf.sub(tf.mul(tf.mul(dy_RD, scale_D), inverseRms_R1), tf.mul(x_RD, perX_R1));
      return [dx_RD, tf.reshape(tf.matMul(inverseRms_R1, xTimesDy_RD, true), [width])];
    },
  );
  return tf.reshape(y_RD, x.shape);
}

/** The parameters of `layerNorm`: `gain` [D], its scale, and `bias` [D]. Checkpoints know them by these names. */
export function layerNormParameters(width: number): readonly ParameterSpec[] {
  return [normScale('gain', width), bias('bias', width)];
}

/**
 * Layer normalisation over the last dimension (Ba et al., 2016), shape unchanged:
 * y = (x − mean) / √(variance + ε) · scale + bias.
 * On NHWC activations this is the "LayerNorm2d" of convolutional networks.
 *
 * The gradient is written by hand so that it takes few passes over memory. With n = (x − mean)·r and
 * r = 1 / √(variance + ε):
 *
 *     dx = r·(dy·scale − n·mean(n·dy·scale) − mean(dy·scale))
 */
export function layerNorm(x: tf.Tensor, p: Parameters, epsilon: number): tf.Tensor {
  const scale_D = p('gain');
  const bias_D = p('bias');
  const width = scale_D.size;
  const x_RD = tf.reshape(x, [-1, width]);
  const y_RD = customGradient(
    [x_RD, scale_D, bias_D],
    () => {
      const centred_RD = tf.sub(x_RD, tf.mean(x_RD, 1, true));
      const inverseDeviation_R1 = tf.rsqrt(tf.add(tf.mean(tf.square(centred_RD), 1, true), epsilon));
      const normal_RD = tf.mul(centred_RD, inverseDeviation_R1);
      const value = tf.add(tf.mul(normal_RD, scale_D), bias_D);
      return { value, saved: { normal_RD, inverseDeviation_R1, scale_D } };
    },
    (dy_RD, { normal_RD, inverseDeviation_R1, scale_D }) => {
      const normalTimesDy_RD = tf.mul(dy_RD, normal_RD);
      const scale_D1 = tf.reshape(scale_D, [width, 1]);
      // mean(z·scale)·r as one product with a vector.
      const mean = (z_RD: tf.Tensor) => tf.mul(tf.matMul(z_RD, scale_D1), tf.mul(inverseDeviation_R1, 1 / width));
      const scaled_RD = tf.mul(tf.mul(dy_RD, scale_D), inverseDeviation_R1);
      const dx_RD = tf.sub(tf.sub(scaled_RD, tf.mul(normal_RD, mean(normalTimesDy_RD))), mean(dy_RD));
      return [dx_RD, tf.sum(normalTimesDy_RD, 0), tf.sum(dy_RD, 0)];
    },
  );
  return tf.reshape(y_RD, x.shape);
}
