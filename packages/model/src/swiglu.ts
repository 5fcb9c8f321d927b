// Legend: R rows, D width, F feed-forward width.
import { tf } from '@weft/tensor';
import { type ParameterSpec, type Parameters, weight } from './parameters.js';
import { withGradient } from './with-gradient.js';

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

/**
 * y = x·sigmoid(x), element by element.
 *
 * The gradient dy·(sigmoid(x)·(1 − y) + y) is written out in the form that reads the sigmoid once, as a factor; the
 * engine then takes it in the same pass.
 */
export function silu(x: tf.Tensor): tf.Tensor {
  return withGradient(
    [x],
    () => {
      const y = tf.mul(x, tf.sigmoid(x));
      return { value: y, saved: { x, y } };
    },
    (dy, { x, y }) => {
      const steep = tf.mul(dy, y);
      return [tf.add(steep, tf.mul(tf.sub(dy, steep), tf.sigmoid(x)))];
    },
  );
}
