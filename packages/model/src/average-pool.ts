// Legend: N images, P patches of one image, K tokens per image, W vision width, D decoder width.
import { tf } from '@weft/tensor';
import { linear, linearParameters } from './linear.js';
import { type ParameterSpec, type Parameters, under, within } from './parameters.js';
import { poolGrid } from './pool-grid.js';
import { sizes } from './sizes.js';

export function averagePoolParameters(visionWidth: number, decoderWidth: number): readonly ParameterSpec[] {
  return under('projection', linearParameters(visionWidth, decoderWidth));
}

/**
 * MM1's simplest connector: n×n average pooling of the patch grid, then a linear map into the decoder.
 * @param features_NPW the patch grid; √K divides its side
 * @returns [N·K, D]
 */
export function averagePool(features_NPW: tf.Tensor, p: Parameters, tokensPerImage: number): tf.Tensor {
  const pooled_NKW = poolGrid(features_NPW, Math.sqrt(tokensPerImage));
  const [count, , width] = sizes(pooled_NKW, 3);
  return linear(tf.reshape(pooled_NKW, [count * tokensPerImage, width]), within(p, 'projection'));
}
