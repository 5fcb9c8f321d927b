import { WeftError } from '@weft/common';

/** The whole numbers `first`, `first + 1`, …, `end - 1`; empty when `first === end`. */
export interface Range {
  readonly first: number;
  readonly end: number;
}

/**
 * Cuts [first, end) into `parts` neighbouring ranges whose lengths differ by at most one, the longer ones first,
 * and returns the one with the given number.
 */
export function partOf(first: number, end: number, part: number, parts: number): Range {
  const length = end - first;
  if (!(length >= 0)) throw new WeftError('invalid_argument', `a range cannot start at ${first} and end at ${end}`);
  const shorter = Math.floor(length / parts);
  const longerParts = length - shorter * parts;
  const start = first + part * shorter + Math.min(part, longerParts);
  return { first: start, end: start + shorter + (part < longerParts ? 1 : 0) };
}

/** Throws `invalid_argument` unless `worldSize` is a positive integer and `rank` one of its ranks. */
export function checkRank(rank: number, worldSize: number): void {
  checkWorldSize(worldSize);
  if (!Number.isSafeInteger(rank) || rank < 0 || rank >= worldSize)
    throw new WeftError('invalid_argument', `rank ${rank} is not one of the ranks 0 to ${worldSize - 1}`);
}

/** Throws `invalid_argument` unless `worldSize` is a positive integer. */
export function checkWorldSize(worldSize: number): void {
  if (!Number.isSafeInteger(worldSize) || worldSize < 1)
    throw new WeftError('invalid_argument', `worldSize must be a positive integer, not ${worldSize}`);
}
