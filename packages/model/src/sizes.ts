import { WeftError } from '@weft/common';
import type { tf } from '@weft/tensor';

interface Sizes {
  readonly 2: readonly [number, number];
  readonly 3: readonly [number, number, number];
  readonly 4: readonly [number, number, number, number];
}

/**
 * The sizes of a tensor's dimensions, as many as the caller names.
 * @throws WeftError `internal` when the tensor has another rank.
 */
export function sizes<Rank extends keyof Sizes>(x: tf.Tensor, rank: Rank): Sizes[Rank] {
  if (x.rank !== rank) {
    throw new WeftError('internal', `a tensor of rank ${rank} was expected, not one of shape [${x.shape.join(', ')}]`);
  }
  return x.shape as readonly number[] as Sizes[Rank];
}
