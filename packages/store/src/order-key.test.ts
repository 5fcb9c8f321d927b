import fc from 'fast-check';
import { expect, it } from 'vitest';
import { compareOrderKeys, type OrderKey, orderKeyBetween } from './order-key.js';

it('there is always a place between two, in front of the first and behind the last', () => {
  const places = fc.array(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), { maxLength: 200 });
  fc.assert(
    fc.property(places, (wanted) => {
      const ranks: OrderKey[] = [];
      for (const place of wanted) {
        const index = Math.floor(place * (ranks.length + 1));
        ranks.splice(index, 0, orderKeyBetween(ranks[index - 1], ranks[index]));
      }
      for (const [index, rank] of ranks.entries()) {
        const next = ranks[index + 1];
        if (next !== undefined) expect(compareOrderKeys(rank, next)).toBeLessThan(0);
        expect(rank.part).not.toMatch(/a$/);
      }
    }),
  );
});

it('always the same place is found a thousand times, at a few letters', () => {
  const first = orderKeyBetween(undefined, undefined);
  let right = orderKeyBetween(first, undefined);
  for (let round = 0; round < 1000; round++) right = orderKeyBetween(first, right);
  expect(compareOrderKeys(first, right)).toBeLessThan(0);
  expect(right.part.length).toBeLessThan(1100);
  let last = first;
  for (let round = 0; round < 1000; round++) last = orderKeyBetween(last, undefined);
  expect(last).toEqual({ whole: 1000, part: '' });
});
