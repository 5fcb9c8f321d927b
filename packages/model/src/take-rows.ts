// Legend: M rows of the table, R rows taken, D width.
import { tf } from '@weft/tensor';
import { sizes } from './sizes.js';
import { withGradient } from './with-gradient.js';

/**
 * Rows of a table by number: [M, D], [R] → [R, D]. A negative number gives a row of zeros and no gradient,
 * which is how a position without an image costs the image tokens nothing.
 *
 * Its gradient is one segment sum, which drops negative numbers; tfjs's own would clip them to row 0 and
 * transpose on the way. Numbers at or above M are an error of the caller.
 */
export function takeRows(table_MD: tf.Tensor, rows_R: tf.Tensor): tf.Tensor {
  const [rowCount] = sizes(table_MD, 2);
  return withGradient(
    [table_MD],
    () => {
      const flatRows_R = tf.reshape<tf.Rank.R1>(rows_R, [rows_R.size]);
      const taken_RD = tf.gather(table_MD, tf.maximum<tf.Tensor1D>(flatRows_R, tf.scalar(0, 'int32')));
      const wanted_R1 = tf.expandDims(tf.cast(tf.greaterEqual(flatRows_R, tf.scalar(0, 'int32')), 'float32'), 1);
      return { value: tf.mul(taken_RD, wanted_R1), saved: { flatRows_R } };
    },
    (dTaken_RD, { flatRows_R }) => [tf.unsortedSegmentSum(dTaken_RD, flatRows_R, rowCount)],
  );
}
