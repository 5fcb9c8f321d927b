import fc from 'fast-check';
import { expect, it } from 'vitest';
import { placeExperts } from './place-experts.js';

it('gives every expert one worker, in order, and every worker its share', () => {
  expect(placeExperts(8, 3)).toEqual([
    { first: 0, end: 3 },
    { first: 3, end: 6 },
    { first: 6, end: 8 },
  ]);
  const sizes = fc.integer({ min: 1, max: 300 }).chain((experts) => {
    return fc.record({ experts: fc.constant(experts), workers: fc.integer({ min: 1, max: experts }) });
  });
  fc.assert(
    fc.property(sizes, ({ experts, workers }) => {
      const placement = placeExperts(experts, workers);
      const lengths = placement.map(({ first, end }) => end - first);
      expect(placement).toHaveLength(workers);
      expect(placement[0]!.first).toBe(0);
      expect(placement.at(-1)!.end).toBe(experts);
      for (const [index, { first }] of placement.slice(1).entries()) expect(first).toBe(placement[index]!.end);
      expect(Math.max(...lengths) - Math.min(...lengths)).toBeLessThanOrEqual(1);
      expect(Math.min(...lengths)).toBeGreaterThan(0);
    }),
  );
});

it('refuses more workers than experts, and none', () => {
  expect(() => placeExperts(4, 5)).toThrow('4 experts cannot live on 5 expert workers');
  expect(() => placeExperts(4, 0)).toThrow('0 expert workers');
});
