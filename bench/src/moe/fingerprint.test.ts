import { expect, test } from 'vitest';
import { fingerprint, largestDifference } from './fingerprint.js';
import type { LayerReady } from './layer.js';

const tensor = (shift = 0) => Float64Array.from({ length: 50 }, (_, i) => Math.sin(3 * i + shift));
const everything = (values: ArrayLike<number>): LayerReady['results'] => {
  const one = fingerprint(values);
  return { output: one, input: one, router: one, gate: one, up: one, down: one };
};

test('equal tensors have equal fingerprints, and a difference shows in proportion to the tensor’s length', () => {
  expect(largestDifference(everything(tensor()), everything(tensor())).difference).toBe(0);
  const nearly = { ...everything(tensor()), router: fingerprint(tensor(1e-3)) };
  const { result, difference } = largestDifference(everything(tensor()), nearly);
  expect(result).toBe('router');
  expect(difference).toBeGreaterThan(1e-5);
  expect(difference).toBeLessThan(1e-2);
});

test('the same elements in another order are another tensor', () => {
  const { difference } = largestDifference(everything(tensor()), everything(tensor().toReversed()));
  expect(difference).toBeGreaterThan(0.05);
});

test('a result that is not a number is no agreement', () => {
  const broken = { ...everything(tensor()), up: fingerprint([Number.NaN]) };
  const { difference } = largestDifference(everything(tensor()), broken);
  expect(difference <= 1).toBe(false);
});
