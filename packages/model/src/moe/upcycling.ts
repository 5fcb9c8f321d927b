import { stackOf } from './stored-tensors.js';

/**
 * The tensor of a dense checkpoint that an expert starts as a copy of (sparse upcycling, Komatsuzaki et al., 2023):
 * `…/layers/1/experts/<e>/gate` is `…/layers/1/feedForward/gate` there, for every e. A copy of the whole feed-forward
 * in each expert gives the dense model's output at first, since a token's two gates add up to 1 unless it is dropped.
 * @param stored the name of a tensor as checkpoints hold it
 * @returns undefined for what is not an expert's
 */
export function denseTwin(stored: string): string | undefined {
  const stack = stackOf(stored);
  return stack?.name.replace(/\/experts\/(\w+)$/, '/feedForward/$1');
}

/** Whether a tensor is a router, which has no twin in a dense model and starts from the seed. */
export function isRouter(name: string): boolean {
  return /\/layers\/\d+\/moe\/router$/.test(name);
}
