import type { tf } from '@weft/tensor';
import { withGradient } from './with-gradient.js';

/** A tensor that the tape takes for a constant: choices and counts, through which no gradient flows. */
export function notDifferentiated(body: () => tf.Tensor): tf.Tensor {
  return withGradient(
    [],
    () => ({ value: body(), saved: {} }),
    () => [],
  );
}
