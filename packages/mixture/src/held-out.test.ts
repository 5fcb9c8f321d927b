import { DEFAULT_SOURCES } from '@weft/common';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { heldOutBase, heldOutSequence, isHeldOut, SourceOrder } from './index.js';

const upTo = (size: number) => Array.from({ length: size }, (_, index) => index);
const orderOf = (source: string, size: number, seed: number, heldOut = 0) =>
  new SourceOrder({ source, seed, sizes: [{ first: 0, sequences: size }], heldOut });
const heldOutOf = (size: number, heldOut: number) =>
  upTo(heldOut).map((n) => heldOutSequence(n, size, heldOut, 'captioned'));

it('an epoch gives every sequence that is not held out exactly once, and no other', () => {
  fc.assert(
    fc.property(fc.integer({ min: 2, max: 300 }), fc.nat(), fc.nat(3), (size, some, epoch) => {
      const heldOut = some % size;
      const trained = upTo(size - heldOut).map(
        (index) => orderOf('captioned', size, 17, heldOut).at(epoch * (size - heldOut) + index).sequence,
      );
      expect([...trained, ...heldOutOf(size, heldOut)].toSorted((a, b) => a - b)).toEqual(upTo(size));
    }),
  );
});

it("a position and its sequence are each other's inverse", () => {
  fc.assert(
    fc.property(fc.integer({ min: 2, max: 1e9 }), fc.nat(), fc.nat(1e12), (size, some, index) => {
      const heldOut = some % size;
      const order = orderOf('text', size, 5, heldOut);
      const { epoch, sequence } = order.at(index);
      expect([...order.indicesOf(sequence, index + 1, index)]).toEqual([{ epoch, indexInSource: index }]);
      expect(order.isHeldOut(sequence)).toBe(false);
    }),
  );
});

it('holding out nothing changes nothing', () => {
  for (const source of DEFAULT_SOURCES)
    for (const index of upTo(200))
      expect(orderOf(source, 70, 3, 0).at(index)).toEqual(orderOf(source, 70, 3).at(index));
});

it('what is held out is spread over the source, and part of what a larger number holds out', () => {
  const few = heldOutOf(1000, 20);
  expect(few).toEqual(heldOutOf(1000, 200).slice(0, 20));
  expect(Math.min(...few)).toBeLessThan(200);
  expect(Math.max(...few)).toBeGreaterThan(800);
  for (const sequence of few) expect(isHeldOut(sequence, 1000, 20, 'captioned')).toBe(true);
  expect(isHeldOut(few[0] ?? 0, 1000, 0, 'captioned')).toBe(false);
});

it('holding out everything and asking for what is not held out are refused; what is held out is never given', () => {
  expect(() => orderOf('text', 5, 1, 5)).toThrow('5 text sequences are to be held out, but there are 5 in all');
  expect(() => heldOutSequence(3, 10, 3, 'text')).toThrow('there is no held-out text sequence 3: 3 are held out');
  const sequence = heldOutSequence(0, 10, 3, 'text');
  expect([...orderOf('text', 10, 1, 3).indicesOf(sequence, 100)]).toEqual([]);
});

it('what is held out stays so when the source grows, and is the same for runs that begin afterwards', () => {
  expect(heldOutBase([10, 40, 70], 3)).toBe(10);
  expect(heldOutBase([2, 40, 70], 3)).toBe(40);
  const sizes = [{ first: 0, sequences: 40 }];
  const later = new SourceOrder({ source: 'text', seed: 9, sizes, heldOut: 3, heldOutOf: 10 });
  const given = upTo(37).map((index) => later.at(index).sequence);
  const held = upTo(3).map((n) => heldOutSequence(n, 10, 3, 'text'));
  expect([...given, ...held].toSorted((a, b) => a - b)).toEqual(upTo(40));
});
