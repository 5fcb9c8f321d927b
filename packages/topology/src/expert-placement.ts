import { WeftError } from '@weft/common';
import { partOf, type Range } from './range.js';

/**
 * The experts of every MoE layer that one expert worker hosts. Ranges are contiguous, in the order of the workers,
 * and their lengths differ by at most one, so that together they hold every expert exactly once.
 *
 * @param experts experts of a layer.
 * @param workers expert workers; at most as many as experts.
 * @throws `invalid_argument` when there are more workers than experts, or no such worker.
 */
export function hostedExperts(experts: number, workers: number, worker: number): Range {
  checkPlacement(experts, workers);
  if (!Number.isSafeInteger(worker) || worker < 0 || worker >= workers) {
    throw new WeftError('invalid_argument', `expert worker ${worker} is not one of 0 to ${workers - 1}`);
  }
  return partOf(0, experts, worker, workers);
}

/**
 * The expert worker that hosts an expert: the inverse of `hostedExperts`.
 *
 * @throws `invalid_argument` when there are more workers than experts, or no such expert.
 */
export function hostOfExpert(experts: number, workers: number, expert: number): number {
  checkPlacement(experts, workers);
  if (!Number.isSafeInteger(expert) || expert < 0 || expert >= experts) {
    throw new WeftError('invalid_argument', `expert ${expert} is not one of 0 to ${experts - 1}`);
  }
  const shorter = Math.floor(experts / workers);
  const longerWorkers = experts - shorter * workers;
  const inLonger = longerWorkers * (shorter + 1);
  return expert < inLonger
    ? Math.floor(expert / (shorter + 1))
    : longerWorkers + Math.floor((expert - inLonger) / shorter);
}

function checkPlacement(experts: number, workers: number): void {
  if (!Number.isSafeInteger(workers) || workers < 1) {
    throw new WeftError('invalid_argument', `the number of expert workers must be a positive integer, not ${workers}`);
  }
  if (!Number.isSafeInteger(experts) || experts < workers) {
    throw new WeftError('invalid_argument', `${workers} expert workers cannot share ${experts} experts`, {
      cure: `start at most ${experts} expert workers`,
    });
  }
}
