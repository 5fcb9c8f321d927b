import { type PerSource, SOURCES } from '@weft/common';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MixtureSchedule } from './index.js';

const weights: fc.Arbitrary<PerSource<number>> = fc
  .record({ captioned: fc.nat(60), interleaved: fc.nat(60), text: fc.nat(60) })
  .filter((each) => SOURCES.some((source) => each[source] > 0));

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

  it('keeps every source less than one sequence from its share after every prefix, for any weights', () => {
    fc.assert(
      fc.property(weights, (each) => {
        const schedule = new MixtureSchedule(each);
        const total = SOURCES.reduce((sum, source) => sum + each[source], 0);
        for (let prefix = 0; prefix <= 2 * schedule.period; prefix++) {
          const counts = schedule.countsBefore(prefix);
          for (const source of SOURCES)
            expect(Math.abs(counts[source] - (prefix * each[source]) / total)).toBeLessThan(1);
        }
      }),
      { numRuns: 40 },
    );
  });

  it('locates in O(1) what counting one by one finds', () => {
    fc.assert(
      fc.property(weights, fc.nat(500), (each, length) => {
        const schedule = new MixtureSchedule(each);
        const seen = { captioned: 0, interleaved: 0, text: 0 };
        for (let sequence = 0; sequence < length; sequence++) {
          expect(schedule.countsBefore(sequence)).toEqual(seen);
          const { source, indexInSource } = schedule.locate(sequence);
          expect(indexInSource).toBe(seen[source]++);
        }
      }),
      { numRuns: 40 },
    );
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
  });

  it('refuses weights that are negative, fractional, all zero, or hopelessly fine', () => {
    expect(() => new MixtureSchedule({ captioned: -1, interleaved: 4, text: 1 })).toThrow('the weight of captioned');
    expect(() => new MixtureSchedule({ captioned: 4, interleaved: 0.5, text: 1 })).toThrow('not 0.5');
    expect(() => new MixtureSchedule({ captioned: 0, interleaved: 0, text: 0 })).toThrow('all sources are 0');
    expect(() => new MixtureSchedule({ captioned: 2 ** 30, interleaved: 1, text: 1 })).toThrow('repeat only after');
    expect(() => new MixtureSchedule({ captioned: 1, interleaved: 1, text: 1 }).locate(-1)).toThrow('non-negative');
  });
});
