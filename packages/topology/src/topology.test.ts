import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  assignShards,
  batchOfStep,
  placeExperts,
  rankSlice,
  ringChunks,
  ringNeighbours,
  stepOfBatch,
  stepSequences,
  withRange,
} from './index.js';

const worldSizes = fc.integer({ min: 1, max: 64 });

describe('skipped batches', () => {
  const range = (first: number, end: number) => ({ first, end });

  it('are consumed by no step, and every other by exactly one, in order', () => {
    const ranges = fc.array(
      fc.record({ first: fc.integer({ min: 1, max: 40 }), length: fc.integer({ min: 1, max: 6 }) }),
    );
    fc.assert(
      fc.property(ranges, (chosen) => {
        const skipped = chosen.reduce<readonly { first: number; end: number }[]>(
          (before, { first, length }) => withRange(before, range(first, first + length)),
          [],
        );
        const isSkipped = (batch: number) =>
          chosen.some(({ first, length }) => batch >= first && batch < first + length);
        const wanted = Array.from({ length: 60 }, (_, at) => at + 1).filter((batch) => !isSkipped(batch));
        expect(wanted.map((_, at) => batchOfStep(at + 1, skipped))).toEqual(wanted);
        expect(wanted.map((batch) => stepOfBatch(batch, skipped))).toEqual(wanted.map((_, at) => at + 1));
        for (let batch = 1; batch <= 60; batch++)
          expect(stepOfBatch(batch, skipped) === undefined).toBe(isSkipped(batch));
      }),
    );
  });

  it('move the sequences of later steps, and of no earlier one', () => {
    const skipped = [range(3, 5)];
    expect(stepSequences(2, 10, skipped)).toEqual(stepSequences(2, 10));
    expect(stepSequences(3, 10, skipped)).toEqual(range(40, 50));
    expect(withRange(skipped, range(5, 6))).toEqual([range(3, 6)]);
  });
});

describe('stepSequences', () => {
  it('gives the first step the first sequences', () => {
    expect(stepSequences(1, 9)).toEqual({ first: 0, end: 9 });
    expect(stepSequences(3, 9)).toEqual({ first: 18, end: 27 });
  });

  it('refuses step 0 and an empty batch', () => {
    expect(() => stepSequences(0, 9)).toThrow('the first one is 1');
    expect(() => stepSequences(1, 0)).toThrow('globalBatchSize');
  });
});

describe('rankSlice', () => {
  it('partitions the sequences of a step for any worldSize, evenly and in order', () => {
    fc.assert(
      fc.property(fc.nat(1e9), fc.nat(300), worldSizes, (first, length, worldSize) => {
        const slices = Array.from({ length: worldSize }, (_, rank) =>
          rankSlice(first, first + length, rank, worldSize),
        );
        let position = first;
        for (const slice of slices) {
          expect(slice.first).toBe(position);
          position = slice.end;
        }
        expect(position).toBe(first + length);
        const lengths = slices.map((slice) => slice.end - slice.first);
        expect(Math.max(...lengths) - Math.min(...lengths)).toBeLessThanOrEqual(1);
      }),
    );
  });

  it('refuses a rank outside the world', () => {
    expect(() => rankSlice(0, 8, 2, 2)).toThrow('rank 2 is not one of the ranks 0 to 1');
    expect(() => rankSlice(0, 8, 0, 0)).toThrow('worldSize');
    expect(() => rankSlice(8, 0, 0, 1)).toThrow('cannot start');
  });
});

describe('the ring', () => {
  it('closes: following next visits every rank once and comes home', () => {
    fc.assert(
      fc.property(worldSizes, (worldSize) => {
        const seen = new Set<number>();
        let rank = 0;
        for (let i = 0; i < worldSize; i++) {
          seen.add(rank);
          const { next } = ringNeighbours(rank, worldSize);
          expect(ringNeighbours(next, worldSize).previous).toBe(rank);
          rank = next;
        }
        expect(rank).toBe(0);
        expect(seen.size).toBe(worldSize);
      }),
    );
  });

  it('cuts a vector into one chunk per rank, losing nothing', () => {
    expect(ringChunks(10, 4)).toEqual([
      { first: 0, end: 3 },
      { first: 3, end: 6 },
      { first: 6, end: 8 },
      { first: 8, end: 10 },
    ]);
    expect(ringChunks(1, 3).map(({ first, end }) => end - first)).toEqual([1, 0, 0]);
  });
});

describe('assignShards', () => {
  it('balances bytes: no rank carries more than the lightest one plus the largest item', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(1e6)), worldSizes, (sizes, worldSize) => {
        const ranks = assignShards(sizes, worldSize);
        expect(ranks).toHaveLength(sizes.length);
        const loads = new Array<number>(worldSize).fill(0);
        ranks.forEach((rank, index) => {
          loads[rank] = loads[rank]! + sizes[index]!;
        });
        expect(Math.max(...loads) - Math.min(...loads)).toBeLessThanOrEqual(Math.max(0, ...sizes));
      }),
    );
  });

  it('gives the same answer every time, ties included', () => {
    expect(assignShards([5, 5, 5, 5], 2)).toEqual([0, 1, 0, 1]);
    expect(assignShards([1, 9, 2, 8], 2)).toEqual([0, 0, 1, 1]);
  });
});

describe('placeExperts', () => {
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
});
