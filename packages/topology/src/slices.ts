import { WeftError } from '@weft/common';

/**
 * The global sequences that step `step` consumes, whatever the number of workers: [(batch − 1)·G, batch·G), where the batch is
 * the step, unless batches before it are skipped.
 *
 * @param step 1-based: the first step of a run is 1.
 * @param globalBatchSize G, in sequences.
 * @param skipped batches that no step consumes, in rising order; default none.
 * @throws `invalid_argument` when step or size is not a positive integer.
 */
export function stepSequences(step: number, globalBatchSize: number, skipped: readonly Range[] = []): Range {
  if (!Number.isSafeInteger(step) || step < 1)
    throw new WeftError('invalid_argument', `a step is a positive integer (the first one is 1), not ${step}`);
  if (!Number.isSafeInteger(globalBatchSize) || globalBatchSize < 1)
    throw new WeftError('invalid_argument', `globalBatchSize must be a positive integer, not ${globalBatchSize}`);
  const batch = batchOfStep(step, skipped);
  return { first: (batch - 1) * globalBatchSize, end: batch * globalBatchSize };
}

/**
 * The batch that a step consumes: the `step`-th, from 1, of those that are not skipped. What a step consumed stays the same when
 * later batches are skipped.
 */
export function batchOfStep(step: number, skipped: readonly Range[]): number {
  let batch = step;
  for (const { first, end } of skipped) if (first <= batch) batch += end - first;
  return batch;
}

/** The step that consumes a batch; undefined where it is skipped. */
export function stepOfBatch(batch: number, skipped: readonly Range[]): number | undefined {
  let step = batch;
  for (const { first, end } of skipped) {
    if (batch >= end) step -= end - first;
    else if (batch >= first) return undefined;
  }
  return step;
}

/** Ranges in rising order, with one more among them: what they share is held once. */
export function withRange(ranges: readonly Range[], added: Range): readonly Range[] {
  const apart = ranges.filter(({ first, end }) => end < added.first || first > added.end);
  const joined = ranges.filter((range) => !apart.includes(range));
  const first = Math.min(added.first, ...joined.map((range) => range.first));
  const end = Math.max(added.end, ...joined.map((range) => range.end));
  return [...apart, { first, end }].toSorted((a, b) => a.first - b.first);
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
function checkRank(rank: number, worldSize: number): void {
  checkWorldSize(worldSize);
  if (!Number.isSafeInteger(rank) || rank < 0 || rank >= worldSize)
    throw new WeftError('invalid_argument', `rank ${rank} is not one of the ranks 0 to ${worldSize - 1}`);
}

/** Throws `invalid_argument` unless `worldSize` is a positive integer. */
export function checkWorldSize(worldSize: number): void {
  if (!Number.isSafeInteger(worldSize) || worldSize < 1)
    throw new WeftError('invalid_argument', `worldSize must be a positive integer, not ${worldSize}`);
}

/** Who a rank listens to and who it sends to. In a ring of one, both are the rank itself. */
export interface RingNeighbours {
  readonly previous: number;
  readonly next: number;
}

/**
 * The neighbours of `rank` in the ring 0 → 1 → … → worldSize − 1 → 0.
 *
 * @throws `invalid_argument` when `rank` is not a rank of `worldSize`.
 */
export function ringNeighbours(rank: number, worldSize: number): RingNeighbours {
  checkRank(rank, worldSize);
  return { previous: (rank + worldSize - 1) % worldSize, next: (rank + 1) % worldSize };
}

/**
 * Cuts a vector of `length` elements into `worldSize` neighbouring chunks, one per rank, whose lengths differ by at
 * most one. Chunks are empty where there are more ranks than elements.
 *
 * @throws `invalid_argument` when `worldSize` is not a positive integer.
 */
export function ringChunks(length: number, worldSize: number): readonly Range[] {
  checkWorldSize(worldSize);
  return Array.from({ length: worldSize }, (_, rank) => partOf(0, length, rank, worldSize));
}
