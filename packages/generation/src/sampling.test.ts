import { Random } from '@weft/common';
import { describe, expect, test } from 'vitest';
import { greatest, sample } from './sampling.js';

/** Tokens of probability 0.5, 0.25, 0.15 and 0.1, out of order. */
const logits = [0.15, 0.5, 0.1, 0.25].map(Math.log);

/** How often each token is drawn. */
function frequencies(temperature: number, topP: number, draws = 20_000): number[] {
  const random = Random.of('draws', temperature, topP);
  const counts = logits.map(() => 0);
  for (let i = 0; i < draws; i++) counts[sample(logits, { temperature, topP }, random)]!++;
  return counts.map((count) => count / draws);
}

/** Within four standard deviations of a frequency. */
function expectNear(given: readonly number[], expected: readonly number[], draws = 20_000): void {
  for (const [token, share] of expected.entries())
    expect(Math.abs(given[token]! - share)).toBeLessThanOrEqual(4 * Math.sqrt((share * (1 - share)) / draws));
}

describe('the next token', () => {
  test('is the likeliest without a temperature, the first among equals', () => {
    expect(sample(logits, { temperature: 0, topP: 1 }, Random.of('unused'))).toBe(1);
    expect(greatest([1, 3, 3, 2])).toBe(1);
  });

  test('is drawn with the probabilities of the softmax', () => {
    expectNear(frequencies(1, 1), [0.15, 0.5, 0.1, 0.25]);
  });

  test('is drawn from flatter ones above temperature 1, and steeper ones below', () => {
    for (const temperature of [2, 0.5]) {
      const powers = [0.15, 0.5, 0.1, 0.25].map((p) => p ** (1 / temperature));
      const sum = powers.reduce((a, b) => a + b);
      expectNear(
        frequencies(temperature, 1),
        powers.map((power) => power / sum),
      );
    }
  });

  test.each([
    // The fewest tokens that reach the share: the last one that is needed belongs to them.
    [0.5, [0, 1, 0, 0]],
    [0.51, [0, 2 / 3, 0, 1 / 3]],
    [0.75, [0, 2 / 3, 0, 1 / 3]],
    [0.8, [0.15 / 0.9, 0.5 / 0.9, 0, 0.25 / 0.9]],
    [0.95, [0.15, 0.5, 0.1, 0.25]],
    [0.01, [0, 1, 0, 0]],
  ])('is drawn from the nucleus of %d', (topP, expected) => {
    expectNear(frequencies(1, topP), expected);
  });

  test('comes out of the nucleus of a large vocabulary as out of a sorted list', () => {
    const random = Random.of('large');
    const large = Float32Array.from({ length: 5000 }, () => 3 * random.normal());
    const weights = Array.from(large, (logit, id) => ({ id, p: Math.exp(logit) }));
    const total = weights.reduce((sum, { p }) => sum + p, 0);
    const nucleus = new Set<number>();
    let sum = 0;
    for (const { id, p } of weights.toSorted((a, b) => b.p - a.p)) {
      if (sum >= 0.9 * total) break;
      nucleus.add(id);
      sum += p;
    }
    const drawn = Array.from({ length: 500 }, () => sample(large, { temperature: 1, topP: 0.9 }, random));
    expect(drawn.every((id) => nucleus.has(id))).toBe(true);
    expect(new Set(drawn).size).toBeGreaterThan(100);
  });

  test('is finite at temperatures where probabilities vanish', () => {
    expect(sample([-1e9, 80, -5], { temperature: 1e-6, topP: 1 }, Random.of('cold'))).toBe(1);
  });
});
