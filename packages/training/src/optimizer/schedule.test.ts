import { tf } from '@weft/tensor';
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { scheduleFactor, scheduleFactorAt } from './schedule.js';

beforeAll(() => tf.setBackend('cpu'));

/** MM1's own: 200,000 steps, 2,000 of warm-up, down to a tenth. */
const mm1 = { warmupSteps: 2000, finalLearningRateRatio: 0.1 };

describe('the schedule', () => {
  test('rises linearly to its peak at the last step of warm-up', () => {
    expect(scheduleFactorAt(mm1, 200_000, 1)).toBeCloseTo(1 / 2000, 12);
    expect(scheduleFactorAt(mm1, 200_000, 1000)).toBeCloseTo(0.5, 12);
    expect(scheduleFactorAt(mm1, 200_000, 2000)).toBe(1);
  });

  test('falls as half a cosine to the final ratio at the last step, and stays there', () => {
    expect(scheduleFactorAt(mm1, 200_000, 101_000)).toBeCloseTo(0.55, 12);
    expect(scheduleFactorAt(mm1, 200_000, 200_000)).toBeCloseTo(0.1, 12);
    expect(scheduleFactorAt(mm1, 200_000, 300_000)).toBeCloseTo(0.1, 12);
  });

  test('needs no warm-up, and may be nothing else', () => {
    expect(scheduleFactorAt({ ...mm1, warmupSteps: 0 }, 100, 1)).toBeCloseTo(1, 3);
    expect(scheduleFactorAt({ ...mm1, warmupSteps: 100 }, 100, 100)).toBe(1);
    expect(scheduleFactorAt({ ...mm1, warmupSteps: 100 }, 50, 50)).toBe(0.5);
  });

  test('is the same in the graph and on the host', () => {
    const steps = fc.integer({ min: 1, max: 200_000 });
    const config = fc.record({
      warmupSteps: fc.integer({ min: 0, max: 5000 }),
      finalLearningRateRatio: fc.double({ min: 0, max: 1, noNaN: true }),
    });
    fc.assert(
      fc.property(config, steps, steps, (schedule, total, step) => {
        const inGraph = scheduleFactor(schedule, total, tf.scalar(step)).dataSync()[0];
        expect(inGraph).toBeCloseTo(scheduleFactorAt(schedule, total, step), 5);
      }),
    );
  });
});
