import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { expertMoves, expertTargets, placeCopies, placeExperts } from './index.js';

describe('copies', () => {
  it('are on another expert worker, and on another host wherever that can be', () => {
    expect(placeCopies([])).toEqual([]);
    expect(placeCopies(['a'])).toEqual([]);
    expect(placeCopies(['a', 'a', 'a'])).toEqual([1, 2, 0]);
    expect(placeCopies(['a', 'a', 'b', 'b'])).toEqual([2, 3, 0, 1]);
    expect(placeCopies(['a', 'a', 'a', 'b'])).toEqual([1, 2, 3, 0]);
  });
});

describe('experts that move', () => {
  const sizes = fc.record({
    experts: fc.integer({ min: 6, max: 20 }),
    before: fc.integer({ min: 1, max: 6 }),
    after: fc.integer({ min: 1, max: 6 }),
    lost: fc.integer({ min: 0, max: 5 }),
  });

  it('come whole to where they belong, from members that have them', () => {
    fc.assert(
      fc.property(sizes, ({ experts, before, after, lost }) => {
        const placement = placeExperts(experts, before);
        const copies = placeCopies(placement.map(() => 'host'));
        // One of them is lost, and the others keep their order.
        const numbers = placement.map((_, number) => (number === lost % before && before > 1 ? -1 : number));
        const present = numbers.filter((number) => number >= 0).slice(0, after);
        const holders = placement.map((_, shard) =>
          [shard, copies[shard] ?? shard].map((holder) => present.indexOf(holder)).filter((at) => at >= 0),
        );
        fc.pre(holders.every((each) => each.length > 0));
        const targets = expertTargets(
          placeExperts(experts, after),
          placeCopies(Array.from({ length: after }, () => 'host')),
        );
        const moves = expertMoves({ placement, holders }, targets);
        for (const target of targets) {
          const ways = moves.filter((move) => move.target === target);
          const isKept = placement.some(
            (range, shard) =>
              range.first === target.experts.first &&
              range.end === target.experts.end &&
              holders[shard]?.includes(target.worker),
          );
          const arrived = ways.flatMap(({ experts: { first, end } }) =>
            Array.from({ length: end - first }, (_, at) => first + at),
          );
          const all = Array.from(
            { length: target.experts.end - target.experts.first },
            (_, at) => target.experts.first + at,
          );
          expect(arrived).toEqual(isKept ? [] : all);
          for (const { from, source, experts: moved } of ways) {
            const shard = placement.findIndex(({ first }) => first === source.first);
            expect(holders[shard]).toContain(from);
            expect(moved.first >= source.first && moved.end <= source.end).toBe(true);
          }
        }
      }),
    );
  });

  it('are refused when nobody holds them', () => {
    const [whole] = placeExperts(4, 1);
    const targets = expertTargets(placeExperts(4, 1), []);
    expect(() => expertMoves({ placement: [whole!], holders: [[]] }, targets)).toThrow(
      'nobody holds the experts 0 to 3',
    );
  });
});
