import { WeftError } from '@weft/common';
import { checkRank, partOf, type Range } from './range.js';

/**
 * The global sequences that step `step` consumes: [(step − 1)·G, step·G), whatever the number of workers.
 *
 * @param step 1-based: the first step of a run is 1.
 * @param globalBatchSize G, in sequences.
 * @throws `invalid_argument` when either is not a positive integer.
 */
export function stepSequences(step: number, globalBatchSize: number): Range {
  if (!Number.isSafeInteger(step) || step < 1)
    throw new WeftError('invalid_argument', `a step is a positive integer (the first one is 1), not ${step}`);
  if (!Number.isSafeInteger(globalBatchSize) || globalBatchSize < 1)
    throw new WeftError('invalid_argument', `globalBatchSize must be a positive integer, not ${globalBatchSize}`);
  return { first: (step - 1) * globalBatchSize, end: step * globalBatchSize };
}

/**
 * The part of [first, end) that `rank` takes. Slices are contiguous, in rank order, and their lengths differ by at
 * most one, so that together they hold every sequence exactly once. A slice is empty where there are more ranks
 * than sequences.
 *
 * @throws `invalid_argument` when `rank` is not a rank of `worldSize`.
 */
export function rankSlice(first: number, end: number, rank: number, worldSize: number): Range {
  checkRank(rank, worldSize);
  return partOf(first, end, rank, worldSize);
}
