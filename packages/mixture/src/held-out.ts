import { type SourceId, WeftError } from '@weft/common';
import { permute, unpermute } from './permute.js';

/**
 * Held-out sequences are the first `heldOut` of one shuffle of the source that depends on nothing else: every run on
 * the same data holds out the same ones, and a smaller number is a part of a larger one. With none held out nothing is
 * shuffled.
 */
const key = (source: SourceId) => `held-out/${source}`;

/**
 * Of how many sequences of a source, its first ones, those that are held out are chosen: as many as the first version of the index
 * holds that has enough of them. So what is held out stays so when the source grows, and is the same for runs that began before
 * and after.
 *
 * @param sizes sequences of the source in each version of the index, the oldest first
 */
export function heldOutBase(sizes: readonly number[], heldOut: number): number {
  return sizes.find((size) => size > heldOut) ?? sizes.at(-1) ?? 0;
}

/**
 * The number, in the index of its source, of the `n`-th held-out sequence.
 *
 * @throws `invalid_argument` when there is none.
 */
export function heldOutSequence(n: number, sourceSize: number, heldOut: number, source: SourceId): number {
  if (Number.isSafeInteger(n) && n >= 0 && n < Math.min(heldOut, sourceSize))
    return permute(n, sourceSize, key(source));
  throw new WeftError('invalid_argument', `there is no held-out ${source} sequence ${n}: ${heldOut} are held out`);
}

/** Whether a sequence of the index is held out. */
export function isHeldOut(sequence: number, sourceSize: number, heldOut: number, source: SourceId): boolean {
  return heldOut > 0 && unpermute(sequence, sourceSize, key(source)) < heldOut;
}

/** The `position`-th (from 0) of the sequences that are trained on, as its number in the index. */
export function trainedSequence(position: number, sourceSize: number, heldOut: number, source: SourceId): number {
  return heldOut === 0 ? position : permute(heldOut + position, sourceSize, key(source));
}

/** The inverse of `trainedSequence`; negative for a sequence that is held out. */
export function positionOfTrained(sequence: number, sourceSize: number, heldOut: number, source: SourceId): number {
  return heldOut === 0 ? sequence : unpermute(sequence, sourceSize, key(source)) - heldOut;
}

/**
 * As `trainedSequence`, for an order that must stay near that of the index: a sequence that is trained on stands at its own number,
 * except for a few at the end of the source, which stand in for those that are held out.
 */
export function trainedInPlace(position: number, sourceSize: number, heldOut: number, source: SourceId): number {
  let sequence = position;
  while (isHeldOut(sequence, sourceSize, heldOut, source))
    sequence = sourceSize - heldOut + unpermute(sequence, sourceSize, key(source));
  return sequence;
}

/** The inverse of `trainedInPlace`, of a sequence that is not held out. */
export function positionInPlace(sequence: number, sourceSize: number, heldOut: number, source: SourceId): number {
  let position = sequence;
  while (position >= sourceSize - heldOut)
    position = permute(position - (sourceSize - heldOut), sourceSize, key(source));
  return position;
}
