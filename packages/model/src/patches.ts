// Legend: N images, S pixels a side, C colours, G patches a side, P pixels of a patch's side.
import { tf } from '@weft/tensor';
import { sizes } from './sizes.js';

/**
 * Cuts images into square patches, row by row from the top left: [N, S, S, C] → [N·G², P·P·C].
 * A matrix product with the rows is then the strided convolution of other implementations.
 * @param patchSize P, divides S
 */
export function patches(images_NSSC: tf.Tensor, patchSize: number): tf.Tensor {
  const [count, size, , colours] = sizes(images_NSSC, 4);
  const grid = size / patchSize;
  const cut_NGPGPC = tf.reshape(images_NSSC, [count, grid, patchSize, grid, patchSize, colours]);
  const together_NGGPPC = tf.transpose(cut_NGPGPC, [0, 1, 3, 2, 4, 5]);
  return tf.reshape(together_NGGPPC, [count * grid * grid, patchSize * patchSize * colours]);
}
