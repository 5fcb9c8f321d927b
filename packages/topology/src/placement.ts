import { WeftError } from '@weft/common';
import { checkWorldSize, partOf, type Range } from './slices.js';

/**
 * Shares out things of known size so that every rank carries about the same number of bytes: the largest first,
 * each to the rank that carries least so far (ties: the lower index, the lower rank). Deterministic, and never
 * worse than 4/3 of the best possible (Graham, 1969).
 *
 * @param sizes bytes, or any other non-negative weight, per item.
 * @returns the rank of each item, in the order of `sizes`.
 * @throws `invalid_argument` when `worldSize` is not a positive integer.
 */
export function assignShards(sizes: readonly number[], worldSize: number): readonly number[] {
  checkWorldSize(worldSize);
  const loads = Array.from({ length: worldSize }, () => 0);
  const ranks = sizes.map(() => 0);
  const largestFirst = sizes
    .map((size, index) => ({ size, index }))
    .sort((a, b) => b.size - a.size || a.index - b.index);
  for (const { size, index } of largestFirst) {
    const lightest = loads.indexOf(Math.min(...loads));
    loads[lightest] = loads[lightest]! + size;
    ranks[index] = lightest;
  }
  return ranks;
}

/**
 * Which experts of every MoE layer live on which expert worker: contiguous ranges, in order, whose lengths differ by at
 * most one. Depends on the two numbers only, so that all processes compute the same placement.
 *
 * @throws `invalid_argument` unless there are 1 to `experts` expert workers.
 */
export function placeExperts(experts: number, expertWorkers: number): readonly Range[] {
  if (!Number.isSafeInteger(expertWorkers) || expertWorkers < 1 || expertWorkers > experts)
    throw new WeftError('invalid_argument', `${experts} experts cannot live on ${expertWorkers} expert workers`);
  return Array.from({ length: expertWorkers }, (_, index) => partOf(0, experts, index, expertWorkers));
}
