// Legend: R rows, D width, F feed-forward width.
import { tf } from '@weft/engine';
import { type ParameterSpec, type Parameters, weight } from './parameters.js';

/** `gate` [D, F], `up` [D, F] and `down` [F, D]. */
export function swigluParameters(
  width: number,
  feedForwardWidth: number,
  downStddev: number,
): readonly ParameterSpec[] {
  return [
    weight('gate', [width, feedForwardWidth]),
    weight('up', [width, feedForwardWidth]),
    weight('down', [feedForwardWidth, width], downStddev),
  ];
}

/** The gated feed-forward layer of Shazeer (2020), (silu(x·gate) ⊙ x·up)·down, on rows: [R, D] → [R, D]. */
export function swiglu(x_RD: tf.Tensor, p: Parameters): tf.Tensor {
  const gated_RF = tf.mul(silu(tf.matMul(x_RD, p('gate'))), tf.matMul(x_RD, p('up')));
  return tf.matMul(gated_RF, p('down'));
}

/** x·sigmoid(x), element by element. */
export function silu(x: tf.Tensor): tf.Tensor {
  return tf.mul(x, tf.sigmoid(x));
}
