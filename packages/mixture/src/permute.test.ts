import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { permute, unpermute } from './index.js';

const upTo = (size: number) => Array.from({ length: size }, (_, index) => index);

describe('permute', () => {
  it('is a bijection on [0, size), and unpermute is its inverse', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 700 }), fc.oneof(fc.string(), fc.integer()), (size, key) => {
        const positions = upTo(size).map((index) => permute(index, size, key));
        expect([...positions].sort((a, b) => a - b)).toEqual(upTo(size));
        for (const [index, position] of positions.entries()) expect(unpermute(position, size, key)).toBe(index);
      }),
    );
  });

  it('holds at sizes beyond 32 bits', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 2 ** 52 }),
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (size, at) => {
          const index = Math.floor(at * size);
          const position = permute(index, size, 'far');
          expect(position).toBeGreaterThanOrEqual(0);
          expect(position).toBeLessThan(size);
          expect(unpermute(position, size, 'far')).toBe(index);
        },
      ),
    );
  });

  it('shuffles: over many keys every position is about equally likely, and neighbours part', () => {
    const size = 7;
    const keys = 7000;
    const hits = upTo(size).map(() => 0);
    let stillNeighbours = 0;
    for (let key = 0; key < keys; key++) {
      const position = permute(3, size, key);
      hits[position] = hits[position]! + 1;
      if (permute(4, size, key) === position + 1) stillNeighbours++;
    }
    for (const count of hits) expect(Math.abs(count - keys / size)).toBeLessThan(150);
    // By chance 6 of the 42 ordered pairs of positions are neighbours.
    expect(Math.abs(stillNeighbours - keys / 7)).toBeLessThan(150);
  });

  it('refuses an index outside', () => {
    expect(() => permute(5, 5, 'k')).toThrow('index 5 is not in a permutation of 5 elements');
    expect(() => permute(0, 0, 'k')).toThrow('size between');
  });
});
