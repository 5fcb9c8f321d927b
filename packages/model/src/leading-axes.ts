import type { tf } from '@weft/engine';

/** Every axis but the last: what a sum into a vector of the last dimension runs over. */
export function leadingAxes(x: tf.Tensor): number[] {
  return Array.from({ length: x.rank - 1 }, (_, axis) => axis);
}
