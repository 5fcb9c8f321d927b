import { WeftError } from '@weft/common';
import { partOf, type Range } from './range.js';

/**
 * Which experts of every MoE layer live on which expert worker: contiguous ranges, in order, whose lengths differ by at
 * most one. Depends on the two numbers only, so that everybody comes to the same placement.
 *
 * @throws `invalid_argument` unless there are 1 to `experts` expert workers.
 */
export function placeExperts(experts: number, expertWorkers: number): readonly Range[] {
  if (!Number.isSafeInteger(expertWorkers) || expertWorkers < 1 || expertWorkers > experts)
    throw new WeftError('invalid_argument', `${experts} experts cannot live on ${expertWorkers} expert workers`);
  return Array.from({ length: expertWorkers }, (_, index) => partOf(0, experts, index, expertWorkers));
}
