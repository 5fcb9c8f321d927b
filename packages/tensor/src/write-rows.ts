// Legend: N rows that are written, K axes of x that a place addresses, C elements of a row.
import { kernelBackend } from './kernel-backend.js';
import { itemAt } from './required.js';
import { tf } from './tf.js';

/**
 * Writes rows into an array where it holds zeros: x with the rows added at their places. Where a program assigns the
 * result to the variable that x was read from, XLA touches nothing but these rows, and TensorFlow copies x at most, which
 * costs a third of choosing between old and new elements by a mask. Rows that are overwritten would have to be
 * subtracted first, and that is not exact. Has no gradient.
 *
 * @param x rank K + 1, rows of C elements
 * @param places_NK int32, the indices of each row; within x, and no two alike but for rows of zeros
 * @param rows_NC float32
 */
export function writeRows(x: tf.Tensor, places_NK: tf.Tensor, rows_NC: tf.Tensor): tf.Tensor {
  const native = kernelBackend();
  if (native === undefined) {
    // tfjs scatters whole rows of matrices only: x is one, and a place the number of its row.
    const strides_K = x.shape.slice(0, -1).map((_, axis) => product(x.shape.slice(axis + 1, -1)));
    const rowNumbers_N1 = tf.sum(tf.mul(places_NK, tf.tensor1d(strides_K, 'int32')), 1, true);
    const matrix = [product(x.shape.slice(0, -1)), itemAt(x.shape, x.rank - 1)] as const;
    return tf.add(x, tf.reshape(tf.scatterND(rowNumbers_N1, rows_NC, [...matrix]), x.shape));
  }
  const types = { T: { type: 'float32' }, Tindices: { type: 'int32' } } as const;
  return native.rawOp('ScatterNdNonAliasingAdd', [x, places_NK, rows_NC], types);
}

function product(sizes: readonly number[]): number {
  return sizes.reduce((all, size) => all * size, 1);
}
