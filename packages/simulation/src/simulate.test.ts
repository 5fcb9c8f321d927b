import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MUTATIONS } from './mutations.js';
import { simulate } from './simulate.js';
import { Violation } from './violation.js';

/** The first violation in a few small clusters, by seed. */
function findViolation(options: Partial<Parameters<typeof simulate>[0]>): Violation | undefined {
  for (const seed of [4, 1, 2, 3, 5, 6, 7, 8])
    try {
      simulate({ seed, workers: 24, hours: 4, ...options });
    } catch (thrown) {
      if (thrown instanceof Violation) return thrown;
      throw thrown;
    }
  return undefined;
}

describe('a cluster in virtual time', () => {
  it('holds every invariant, whatever goes wrong', () => {
    const hours = fc.constantFrom(0.5, 1);
    const cluster = fc.record({ seed: fc.nat(2 ** 31), workers: fc.integer({ min: 1, max: 24 }), hours });
    fc.assert(
      fc.property(cluster, (options) => {
        const { goodput, stepsCommitted } = simulate(options);
        expect(goodput).toBeLessThanOrEqual(1);
        expect(stepsCommitted).toBeGreaterThan(0);
      }),
      { numRuns: 8 },
    );
  });

  it('goes the same way with the same seed, and another way with another', () => {
    const play = (seed: number) => ({ ...simulate({ seed, workers: 8, hours: 0.5 }), cpuSeconds: 0, seed: 0 });
    expect(play(1)).toEqual(play(1));
    expect(play(2)).not.toEqual(play(1));
  });

  it.each(Object.keys(MUTATIONS))('names the invariant that a coordinator breaks which %s', (name) => {
    const { decideWith, noticedBy } = MUTATIONS[name]!;
    expect(noticedBy).toContain(findViolation({ decideWith })?.invariant);
  });

  it('names a store that lets two coordinators write', () => {
    expect(findViolation({ isFenced: false, hours: 12 })?.invariant).toBe('leader');
  });
});
