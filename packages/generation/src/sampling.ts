import type { Random } from '@weft/common';

/** How the next token is chosen. */
export interface Sampling {
  /** What logits are divided by; 0 takes the likeliest token. */
  readonly temperature: number;
  /** Chooses among the likeliest tokens that together have at least this probability; 1: among all. */
  readonly topP: number;
}

/** The likeliest token; of equal ones the lowest id. */
export function greatest(logits: ArrayLike<number>): number {
  let best = 0;
  for (let id = 1; id < logits.length; id++) if (logits[id]! > logits[best]!) best = id;
  return best;
}

/**
 * Draws the next token: softmax(logits / temperature), cut to the nucleus (Holtzman et al., 2020), the fewest tokens
 * whose probabilities add up to `topP`, the likeliest first.
 * @param logits one per token of the vocabulary
 * @param random one number is drawn from it, whatever the distribution
 */
export function sample(logits: ArrayLike<number>, { temperature, topP }: Sampling, random: Random): number {
  const top = greatest(logits);
  if (temperature === 0) return top;
  const weights = Float64Array.from(logits, (logit) => Math.exp((logit - logits[top]!) / temperature));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const uniform = random.uniform();
  const ids = topP < 1 ? nucleus(weights, total, topP) : undefined;
  const count = ids?.length ?? weights.length;
  const idAt = (i: number) => (ids === undefined ? i : ids[i]!);
  let mass = total;
  if (ids !== undefined) mass = ids.reduce((sum, id) => sum + weights[id]!, 0);
  let left = uniform * mass;
  for (let i = 0; i < count; i++) {
    left -= weights[idAt(i)]!;
    if (left < 0) return idAt(i);
  }
  // Rounding may leave a rest.
  return top;
}

/** The tokens of the nucleus, the likeliest first, the lower id first among equals. */
function nucleus(weights: Float64Array, total: number, topP: number): readonly number[] {
  // Tokens below this have less than 1 − topP in all, so the nucleus holds none of them: most need not be sorted.
  const smallest = ((1 - topP) * total) / weights.length;
  const candidates: number[] = [];
  for (let id = 0; id < weights.length; id++) if (weights[id]! >= smallest) candidates.push(id);
  candidates.sort((a, b) => weights[b]! - weights[a]! || a - b);
  let sum = 0;
  let size = 0;
  while (size < candidates.length && sum < topP * total) sum += weights[candidates[size++]!]!;
  return candidates.slice(0, Math.max(1, size));
}
