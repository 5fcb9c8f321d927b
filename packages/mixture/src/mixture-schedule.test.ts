import { mapSources, type PerSource } from '@weft/common';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MixtureSchedule } from './index.js';

/** The weights of `count` sources, at least one of them positive. */
const weightsOf = (count: number): fc.Arbitrary<PerSource<number>> =>
  fc
    .array(fc.nat(60), { minLength: count, maxLength: count })
    .filter((all) => all.some((weight) => weight > 0))
    .map((all) => Object.fromEntries(all.map((weight, i) => [`${'abcdefghijkl'[i]}-source`, weight])));

/** Up to three sources follow one rule, more of them another. */
const weights = fc.integer({ min: 1, max: 12 }).chain(weightsOf);

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);

const smallInitials = (schedule: MixtureSchedule, count: number) =>
  Array.from({ length: count }, (_, sequence) => schedule.locate(sequence).source[0]).join('');

describe('MixtureSchedule', () => {
  it('interleaves 4:4:1 smoothly with period 9', () => {
    const schedule = new MixtureSchedule({ captioned: 4, interleaved: 4, text: 1 });
    expect(schedule.period).toBe(9);
    expect(smallInitials(schedule, 18)).toBe('cicitcicicicitcici');
  });

  it('takes 45:45:10 for what it is: 9:9:2', () => {
    const percent = new MixtureSchedule({ captioned: 45, interleaved: 45, text: 10 });
    expect(percent.period).toBe(20);
    expect(smallInitials(percent, 40)).toBe(
      smallInitials(new MixtureSchedule({ captioned: 9, interleaved: 9, text: 2 }), 40),
    );
  });

  it('keeps every source less than one sequence from its share after every prefix, for any weights of any number of sources', () => {
    fc.assert(
      fc.property(weights, (each) => {
        const schedule = new MixtureSchedule(each);
        const total = Object.values(each).reduce((sum, weight) => sum + weight, 0);
        for (let prefix = 0; prefix <= 2 * schedule.period; prefix++) {
          const counts = schedule.countsBefore(prefix);
          for (const [source, weight] of Object.entries(each))
            expect(Math.abs(counts[source]! - (prefix * weight) / total)).toBeLessThan(1);
        }
      }),
      { numRuns: 60 },
    );
  });

  it('keeps a group less than one sequence from its share of the run, and its sources less than one from theirs of the group', () => {
    const groups = fc.array(fc.array(fc.nat(9), { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(
        groups.filter((all) => all.flat().some((weight) => weight > 0)),
        (all) => {
          const named = all.flatMap((each, group) =>
            each.map((weight, i) => [`g${group}-${i}`, weight, group] as const),
          );
          const ofSources = Object.fromEntries(named.map(([name, weight]) => [name, weight]));
          const schedule = new MixtureSchedule(
            ofSources,
            Object.fromEntries(named.map(([name, , group]) => [name, `group ${group}`])),
          );
          const total = sum(Object.values(ofSources));
          const order = new Map<string, number>();
          for (let prefix = 0; prefix <= Math.min(schedule.period, 300); prefix++) {
            const counts = schedule.countsBefore(prefix);
            expect(Object.keys(counts)).toEqual(Object.keys(ofSources));
            for (const [group, each] of all.entries()) {
              const own = each.map((_, i) => counts[`g${group}-${i}`]!);
              expect(Math.abs(sum(own) - (prefix * sum(each)) / total)).toBeLessThan(1);
              for (const [i, weight] of each.entries())
                if (sum(each) > 0) expect(Math.abs(own[i]! - (sum(own) * weight) / sum(each))).toBeLessThan(1);
            }
            const { source, indexInSource } = schedule.locate(prefix);
            expect(indexInSource).toBe(order.get(source) ?? 0);
            order.set(source, indexInSource + 1);
          }
          expect(schedule.countsBefore(schedule.period)).toEqual(
            mapSources(ofSources, (weight) => (schedule.period * weight) / total),
          );
        },
      ),
      { numRuns: 60 },
    );
  });

  it('gives every source exactly its part of a whole period', () => {
    fc.assert(
      fc.property(weights, fc.integer({ min: 1, max: 1e6 }), (each, periods) => {
        const schedule = new MixtureSchedule(each);
        const total = Object.values(each).reduce((sum, weight) => sum + weight, 0);
        const counts = schedule.countsBefore(periods * schedule.period);
        expect(counts).toEqual(mapSources(each, (weight) => (periods * schedule.period * weight) / total));
      }),
    );
  });

  it('locates in O(1) what counting one by one finds, from any position on', () => {
    fc.assert(
      fc.property(weights, fc.nat(1e9), fc.nat(500), (each, start, length) => {
        const schedule = new MixtureSchedule(each);
        const seen = { ...schedule.countsBefore(start) };
        for (let sequence = start; sequence < start + length; sequence++) {
          expect(schedule.countsBefore(sequence)).toEqual(seen);
          const { source, indexInSource } = schedule.locate(sequence);
          expect(indexInSource).toBe(seen[source]);
          seen[source] = indexInSource + 1;
        }
      }),
      { numRuns: 40 },
    );
  });

  it('a run that resumes anywhere goes on as one that was never interrupted', () => {
    fc.assert(
      fc.property(weights, fc.nat(400), fc.nat(400), (each, before, after) => {
        const uninterrupted = new MixtureSchedule(each);
        const whole = Array.from({ length: before + after }, (_, sequence) => uninterrupted.locate(sequence));
        const resumed = new MixtureSchedule(each);
        const rest = Array.from({ length: after }, (_, i) => resumed.locate(before + i));
        expect(rest).toEqual(whole.slice(before));
        const taken = mapSources(
          each,
          (_, source) => whole.slice(0, before).filter((at) => at.source === source).length,
        );
        expect(resumed.countsBefore(before)).toEqual(taken);
      }),
      { numRuns: 40 },
    );
  });

  it('takes four sources in a fixed order', () => {
    const schedule = new MixtureSchedule({ art: 3, books: 3, code: 2, essays: 1 });
    expect(schedule.sources).toEqual(['art', 'books', 'code', 'essays']);
    expect(smallInitials(schedule, 18)).toBe('abcabecababcabecab');
  });

  it('answers for sequences far beyond 32 bits', () => {
    const schedule = new MixtureSchedule({ captioned: 4, interleaved: 4, text: 1 });
    const start = 9 * 2 ** 44;
    expect(schedule.locate(start)).toEqual({ source: 'captioned', indexInSource: 4 * 2 ** 44 });
    expect(schedule.countsBefore(start)).toEqual({ captioned: 4 * 2 ** 44, interleaved: 4 * 2 ** 44, text: 2 ** 44 });
  });

  it('never takes a source of weight 0', () => {
    const schedule = new MixtureSchedule({ captioned: 0, interleaved: 3, text: 0 });
    expect(smallInitials(schedule, 5)).toBe('iiiii');
    expect(smallInitials(new MixtureSchedule({ a: 0, b: 1, c: 0, d: 2, e: 0 }), 6)).toBe('dbddbd');
  });

  it('refuses weights that are negative, fractional, all zero, or hopelessly fine', () => {
    expect(() => new MixtureSchedule({ captioned: -1, interleaved: 4, text: 1 })).toThrow('the weight of captioned');
    expect(() => new MixtureSchedule({ captioned: 4, interleaved: 0.5, text: 1 })).toThrow('not 0.5');
    expect(() => new MixtureSchedule({ captioned: 0, interleaved: 0, text: 0 })).toThrow('all sources are 0');
    expect(() => new MixtureSchedule({ captioned: 2 ** 30, interleaved: 1, text: 1 })).toThrow('repeat only after');
    const many = Array.from({ length: 60 }, (_, i) => [`source${i}`, i === 0 ? 60_000 : 1]);
    expect(() => new MixtureSchedule(Object.fromEntries(many))).toThrow(
      'repeat only after 60059 sequences, more than 52428',
    );
    expect(() => new MixtureSchedule({ captioned: 1, interleaved: 1, text: 1 }).locate(-1)).toThrow('non-negative');
  });
});

/** A run whose weights change, as a list of weights and the global sequences at which they begin. */
const changing = (least: number, most: number) =>
  fc.integer({ min: least, max: most }).chain((count) =>
    fc.record({
      beginning: weightsOf(count),
      changes: fc
        .array(fc.record({ after: fc.nat(60), weights: weightsOf(count) }), { minLength: 1, maxLength: 5 })
        .map((all) => {
          let first = 0;
          return all.map(({ after, weights: changed }) => {
            first += after;
            return { first, weights: changed, indexVersion: null };
          });
        }),
    }),
  );

/** The greatest distance of a source from its share after any prefix. */
function greatestDistance(schedule: MixtureSchedule, length: number): number {
  let greatest = 0;
  for (let prefix = 0; prefix <= length; prefix++) {
    const counts = schedule.countsBefore(prefix);
    for (const [source, share] of Object.entries(schedule.sharesBefore(prefix)))
      greatest = Math.max(greatest, Math.abs(counts[source]! - share));
  }
  return greatest;
}

describe('a mixture that changes', () => {
  it('keeps up to three sources less than one sequence from their shares over all changes, after every prefix', () => {
    fc.assert(
      fc.property(changing(1, 3), ({ beginning, changes }) => {
        const schedule = new MixtureSchedule(beginning, {}, changes);
        expect(greatestDistance(schedule, changes.at(-1)!.first + 200)).toBeLessThan(1);
      }),
      { numRuns: 300 },
    );
  });

  it('keeps four sources and more less than two from theirs over all changes', () => {
    fc.assert(
      fc.property(changing(4, 8), ({ beginning, changes }) => {
        const schedule = new MixtureSchedule(beginning, {}, changes);
        expect(greatestDistance(schedule, changes.at(-1)!.first + 200)).toBeLessThan(2);
      }),
      { numRuns: 300 },
    );
  });

  it('counts on: no number of a source is left out or comes twice, and none comes of a source without weight', () => {
    fc.assert(
      fc.property(changing(1, 8), ({ beginning, changes }) => {
        const groups = mapSources(beginning, (_, source) => (source < 'c' ? 'large' : source));
        const schedule = new MixtureSchedule(beginning, groups, changes);
        const counts: Record<string, number> = {};
        for (let sequence = 0; sequence < changes.at(-1)!.first + 150; sequence++) {
          expect(schedule.countsBefore(sequence)).toEqual(mapSources(beginning, (_, source) => counts[source] ?? 0));
          const { source, indexInSource } = schedule.locate(sequence);
          expect(indexInSource).toBe(counts[source] ?? 0);
          expect(schedule.stretchAt(sequence).weights[source]).toBeGreaterThan(0);
          counts[source] = indexInSource + 1;
        }
      }),
      { numRuns: 100 },
    );
  });

  it('keeps a group and its sources within one of their shares, too', () => {
    const schedule = new MixtureSchedule({ a: 3, b: 1, text: 2 }, { a: 'images', b: 'images', text: 'text' }, [
      { first: 5, weights: { a: 1, b: 4, text: 3 }, indexVersion: null },
      { first: 31, weights: { a: 0, b: 0, text: 1 }, indexVersion: null },
      { first: 40, weights: { a: 2, b: 5, text: 1 }, indexVersion: null },
    ]);
    for (let prefix = 0; prefix < 300; prefix++) {
      const { a = 0, b = 0, text = 0 } = schedule.countsBefore(prefix);
      const share = schedule.sharesBefore(prefix);
      expect(Math.abs(text - share.text!)).toBeLessThan(1);
      expect(Math.abs(a + b - share.a! - share.b!)).toBeLessThan(1);
    }
  });

  it('is what it was up to the change, and with the same weights also behind it', () => {
    const plain = new MixtureSchedule({ captioned: 4, interleaved: 4, text: 1 });
    const same = new MixtureSchedule(plain.weights, {}, [{ first: 13, weights: plain.weights, indexVersion: 2 }]);
    expect(smallInitials(same, 90)).toBe(smallInitials(plain, 90));
    expect(same.stretchAt(12).indexVersion).toBeNull();
    expect(same.stretchAt(13).indexVersion).toBe(2);
    const later = { first: 20, weights: { captioned: 1, interleaved: 1, text: 0 }, indexVersion: 2 };
    const twice = new MixtureSchedule(plain.weights, {}, [...same.stretches.slice(1), later]);
    expect(smallInitials(twice, 20)).toBe(smallInitials(plain, 20));
    expect(() => new MixtureSchedule(plain.weights, {}, [later, { ...later, first: 9 }])).toThrow(
      'changes at sequence 20, and then at 9',
    );
  });

  it('holds over a long run and many changes of weights that have nothing in common', () => {
    const changes = Array.from({ length: 40 }, (_, at) => ({
      first: 1e9 + 7919 * at,
      weights: { captioned: 997 + at, interleaved: 1009 - at, text: 101 },
      indexVersion: null,
    }));
    const schedule = new MixtureSchedule({ captioned: 4, interleaved: 4, text: 1 }, {}, changes);
    const end = 1e9 + 7919 * 40;
    const [counts, shares] = [schedule.countsBefore(end), schedule.sharesBefore(end)];
    for (const [source, share] of Object.entries(shares)) expect(Math.abs(counts[source]! - share)).toBeLessThan(1);
    expect(sum(Object.values(counts))).toBe(end);
  });
});
