import { DEFAULT_SOURCES } from '@weft/common';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { datasetSequence, heldOutSequence, indexInSourceOf, isHeldOut } from './index.js';

const upTo = (size: number) => Array.from({ length: size }, (_, index) => index);
const heldOutOf = (size: number, heldOut: number) =>
  upTo(heldOut).map((n) => heldOutSequence(n, size, heldOut, 'captioned'));

it('an epoch gives every sequence that is not held out exactly once, and no other', () => {
  fc.assert(
    fc.property(fc.integer({ min: 2, max: 300 }), fc.nat(), fc.nat(3), (size, some, epoch) => {
      const heldOut = some % size;
      const trained = upTo(size - heldOut).map(
        (index) => datasetSequence(epoch * (size - heldOut) + index, size, 17, 'captioned', heldOut).sequence,
      );
      expect([...trained, ...heldOutOf(size, heldOut)].toSorted((a, b) => a - b)).toEqual(upTo(size));
    }),
  );
});

it("a position and its sequence are each other's inverse", () => {
  fc.assert(
    fc.property(fc.integer({ min: 2, max: 1e9 }), fc.nat(), fc.nat(1e12), (size, some, index) => {
      const heldOut = some % size;
      const given = datasetSequence(index, size, 5, 'text', heldOut);
      expect(indexInSourceOf(given, size, 5, 'text', heldOut)).toBe(index);
      expect(isHeldOut(given.sequence, size, heldOut, 'text')).toBe(false);
    }),
  );
});

it('holding out nothing changes nothing', () => {
  for (const source of DEFAULT_SOURCES)
    for (const index of upTo(200))
      expect(datasetSequence(index, 70, 3, source, 0)).toEqual(datasetSequence(index, 70, 3, source));
});

it('what is held out is spread over the source, and part of what a larger number holds out', () => {
  const few = heldOutOf(1000, 20);
  expect(few).toEqual(heldOutOf(1000, 200).slice(0, 20));
  expect(Math.min(...few)).toBeLessThan(200);
  expect(Math.max(...few)).toBeGreaterThan(800);
  for (const sequence of few) expect(isHeldOut(sequence, 1000, 20, 'captioned')).toBe(true);
  expect(isHeldOut(few[0] ?? 0, 1000, 0, 'captioned')).toBe(false);
});

it('holding out everything, asking for what is not held out, and looking for what is, are refused', () => {
  expect(() => datasetSequence(0, 5, 1, 'text', 5)).toThrow(
    '5 text sequences are to be held out, but there are 5 in all',
  );
  expect(() => heldOutSequence(3, 10, 3, 'text')).toThrow('there is no held-out text sequence 3: 3 are held out');
  const sequence = heldOutSequence(0, 10, 3, 'text');
  expect(() => indexInSourceOf({ epoch: 0, sequence }, 10, 1, 'text', 3)).toThrow(
    `the text sequence ${sequence} is held out`,
  );
});
