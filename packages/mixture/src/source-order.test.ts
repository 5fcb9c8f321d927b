import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SourceOrder } from './index.js';

const upTo = (size: number) => Array.from({ length: size }, (_, index) => index);
const sorted = (values: readonly number[]) => values.toSorted((a, b) => a - b);
const orderOf = (size: number, source = 'text', seed = 7) =>
  new SourceOrder({ source, seed, sizes: [{ first: 0, sequences: size }] });

describe('the order of a source', () => {
  it('visits every sequence once an epoch, each epoch and source in its own order', () => {
    const size = 50;
    const order = (epoch: number, source: string, seed: number) =>
      upTo(size).map((index) => orderOf(size, source, seed).at(epoch * size + index).sequence);
    for (const epoch of [0, 1, 2]) expect(sorted(order(epoch, 'text', 7))).toEqual(upTo(size));
    expect(order(0, 'text', 7)).not.toEqual(order(1, 'text', 7));
    expect(order(0, 'text', 7)).not.toEqual(order(0, 'captioned', 7));
    expect(order(0, 'text', 7)).not.toEqual(order(0, 'text', 8));
    expect(orderOf(size).at(2 * size).epoch).toBe(2);
  });

  it('is the order that runs of older versions had', () => {
    expect(upTo(8).map((index) => orderOf(5, 'text', 3).at(index).sequence)).toEqual([2, 1, 4, 3, 0, 3, 0, 4]);
  });

  it('says what to do when the source is empty, and refuses one that shrinks', () => {
    expect(() => orderOf(0)).toThrow('the source text holds no sequence');
    const sizes = [
      { first: 0, sequences: 5 },
      { first: 3, sequences: 4 },
    ];
    expect(() => new SourceOrder({ source: 'text', seed: 1, sizes })).toThrow('shrinks to 4 sequences at its number 3');
  });
});

/** A source that grows, at numbers of its own sequences. */
const growing = fc
  .record({
    beginning: fc.integer({ min: 3, max: 20 }),
    growths: fc.array(fc.record({ after: fc.nat(40), by: fc.nat(15) }), { maxLength: 4 }),
    heldOut: fc.nat(2),
    seed: fc.nat(1000),
  })
  .map(({ beginning, growths, heldOut, seed }) => {
    const sizes = [{ first: 0, sequences: beginning }];
    for (const { after, by } of growths) {
      const last = sizes.at(-1)!;
      sizes.push({ first: last.first + after, sequences: last.sequences + by });
    }
    return { source: 'text', seed, sizes, heldOut, heldOutOf: beginning };
  });

describe('a source that grows', () => {
  it('gives every sequence once in every epoch, also in the one in which it grew', () => {
    fc.assert(
      fc.property(growing, (options) => {
        const order = new SourceOrder(options);
        const length = options.sizes.at(-1)!.first + 60;
        const given = new Map<number, number[]>();
        for (const index of upTo(length)) {
          const { epoch, sequence } = order.at(index);
          const size = options.sizes.findLast(({ first }) => first <= index)!.sequences;
          expect(sequence).toBeLessThan(size);
          given.set(epoch, [...(given.get(epoch) ?? []), sequence]);
        }
        const epochs = [...given.keys()];
        expect(epochs).toEqual(upTo(epochs.length));
        // The last epoch is not over.
        for (const epoch of epochs.slice(0, -1)) {
          const sequences = given.get(epoch)!;
          expect(new Set(sequences).size).toBe(sequences.length);
          const held = upTo(options.heldOutOf).filter((sequence) => order.isHeldOut(sequence));
          expect(held).toHaveLength(options.heldOut);
          // What was there when it ended.
          const end = epochs.slice(0, epoch + 1).reduce((sum, each) => sum + given.get(each)!.length, 0);
          const size = options.sizes.findLast(({ first }) => first < end)!.sequences;
          expect(sorted([...sequences, ...held])).toEqual(upTo(size));
        }
      }),
      { numRuns: 300 },
    );
  });

  it('keeps what it gave before it grew', () => {
    fc.assert(
      fc.property(growing, (options) => {
        const order = new SourceOrder(options);
        const last = options.sizes.at(-1)!;
        const before = new SourceOrder({
          ...options,
          sizes: options.sizes.slice(0, Math.max(1, options.sizes.length - 1)),
        });
        for (const index of upTo(last.first)) expect(order.at(index)).toEqual(before.at(index));
      }),
    );
  });

  it('tells when it gives a sequence, in every epoch', () => {
    fc.assert(
      fc.property(growing, fc.nat(60), (options, from) => {
        const order = new SourceOrder(options);
        const end = options.sizes.at(-1)!.first + 50;
        for (const sequence of upTo(options.sizes.at(-1)!.sequences)) {
          const wanted = upTo(end)
            .slice(from)
            .map((indexInSource) => ({ indexInSource, ...order.at(indexInSource) }))
            .filter((each) => each.sequence === sequence)
            .map(({ epoch, indexInSource }) => ({ epoch, indexInSource }));
          expect([...order.indicesOf(sequence, end, from)]).toEqual(wanted);
        }
      }),
      { numRuns: 60 },
    );
  });

  it('is read by a run that begins afterwards, or has taken nothing of it yet, as any source of that size', () => {
    const sizes = [
      { first: 0, sequences: 5 },
      { first: 0, sequences: 12 },
    ];
    const late = new SourceOrder({ source: 'text', seed: 7, sizes });
    for (const index of upTo(40)) expect(late.at(index)).toEqual(orderOf(12).at(index));
  });
});
