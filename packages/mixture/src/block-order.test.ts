import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { permuteInBlocks, unpermuteInBlocks } from './block-order.js';

const upTo = (size: number) => Array.from({ length: size }, (_, index) => index);
const blocks = fc.record({
  blockSequences: fc.integer({ min: 1, max: 40 }),
  windowBlocks: fc.integer({ min: 1, max: 9 }),
});

describe('an order in blocks', () => {
  it('visits everything exactly once, whatever the size and the blocks', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 500 }), fc.string(), blocks, (size, key, each) => {
        const order = upTo(size).map((index) => permuteInBlocks(index, size, key, each));
        expect(order.toSorted((a, b) => a - b)).toEqual(upTo(size));
      }),
    );
  });

  it('has an inverse, also for sizes of billions', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2 ** 40 }), fc.nat(), fc.string(), blocks, (size, some, key, each) => {
        const index = some % size;
        expect(unpermuteInBlocks(permuteInBlocks(index, size, key, each), size, key, each)).toBe(index);
      }),
    );
  });

  it('reads few parts of the data at a time: within a window no more blocks than it has', () => {
    const each = { blockSequences: 16, windowBlocks: 4 };
    const size = 10_000;
    for (let first = 0; first + 64 <= size; first += 64) {
      const read = upTo(64)
        .map((i) => permuteInBlocks(first + i, size, 'k', each))
        .toSorted((a, b) => a - b);
      const parts = read.filter((at, i) => i === 0 || at !== read[i - 1]! + 1).length;
      // One more where a block goes over the end of the circle.
      expect(parts).toBeLessThanOrEqual(5);
    }
  });

  it('mixes: neighbours of the order are seldom neighbours of the data', () => {
    const each = { blockSequences: 64, windowBlocks: 16 };
    const order = upTo(8192).map((index) => permuteInBlocks(index, 8192, 'k', each));
    const together = order.filter((at, i) => i > 0 && Math.abs(at - order[i - 1]!) === 1).length;
    expect(together).toBeLessThan(8192 / 100);
  });

  it('is another one for another key', () => {
    const each = { blockSequences: 8, windowBlocks: 2 };
    const orderOf = (key: string) => upTo(100).map((index) => permuteInBlocks(index, 100, key, each));
    expect(orderOf('0')).not.toEqual(orderOf('1'));
    expect(orderOf('0')).toEqual(orderOf('0'));
  });
});
