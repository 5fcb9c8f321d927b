import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SourceOrder } from './source-order.js';

const upTo = (size: number) => Array.from({ length: size }, (_, index) => index);
const shuffles = fc.record({
  blockSequences: fc.integer({ min: 1, max: 30 }),
  windowBlocks: fc.integer({ min: 1, max: 6 }),
});

describe('a source that is shuffled in blocks', () => {
  it('gives every sequence once an epoch, without those held out, and every index its inverse, also where it grows', () => {
    fc.assert(
      fc.property(
        ...[fc.integer({ min: 1, max: 120 }), fc.nat(19), fc.nat(60), fc.nat(150), shuffles],
        (trained, heldOut, more, grownAt, shuffle) => {
          const first = trained + heldOut;
          const sizes = [
            { first: 0, sequences: first },
            { first: grownAt, sequences: first + more },
          ];
          const order = new SourceOrder({ source: 'text', seed: 3, sizes, heldOut, heldOutOf: first, shuffle });
          const end = 3 * (first + more);
          const byEpoch = new Map<number, number[]>();
          for (const index of upTo(end)) {
            const { epoch, sequence } = order.at(index);
            expect(order.isHeldOut(sequence)).toBe(false);
            byEpoch.set(epoch, [...(byEpoch.get(epoch) ?? []), sequence]);
            expect([...order.indicesOf(sequence, end)]).toContainEqual({ epoch, indexInSource: index });
          }
          for (const given of byEpoch.values()) expect(new Set(given).size).toBe(given.length);
        },
      ),
      { numRuns: 60 },
    );
  });

  it('stays near in the index, with sequences held out too', () => {
    const size = 20_000;
    const shuffle = { blockSequences: 64, windowBlocks: 8 };
    const sizes = [{ first: 0, sequences: size }];
    const order = new SourceOrder({ source: 'captioned', seed: 1, sizes, heldOut: 200, shuffle });
    const window = upTo(512).map((index) => order.at(index).sequence);
    const blocksRead = new Set(window.map((sequence) => Math.floor(sequence / 64)));
    // Eight blocks lie over two of the grid each; one in a hundred sequences stands in for one held out.
    expect(blocksRead.size).toBeLessThan(8 * 2 + 20);
    const all = new SourceOrder({ source: 'captioned', seed: 1, sizes, heldOut: 200 });
    expect(new Set(upTo(512).map((index) => Math.floor(all.at(index).sequence / 64))).size).toBeGreaterThan(200);
  });

  it('holds out the sequences that it would without', () => {
    const sizes = [{ first: 0, sequences: 500 }];
    const shuffle = { blockSequences: 8, windowBlocks: 4 };
    const options = { source: 'text', seed: 1, sizes, heldOut: 40 };
    const held = (order: SourceOrder) => upTo(500).filter((sequence) => order.isHeldOut(sequence));
    expect(held(new SourceOrder({ ...options, shuffle }))).toEqual(held(new SourceOrder(options)));
  });
});
