import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Home, lossDifference, type Metrics } from './weft.js';

const STEPS = 20;
let home: Home;
const byWorkers = new Map<number, Metrics[]>();
beforeAll(async () => {
  home = await Home.make();
  for (const workers of [1, 2, 4]) {
    const settings = { steps: STEPS, microbatchSize: 1, 'optimizer.learningRate': 3e-3 };
    byWorkers.set(workers, home.metrics(await home.train('debugNano', workers, settings)));
  }
});
afterAll(() => home.remove());

describe('the number of workers', () => {
  it('does not change the losses: 1, 2 and 4 ranks agree to 1e-4 over 20 steps', () => {
    const [one = [], two = [], four = []] = [1, 2, 4].map((workers) => byWorkers.get(workers));
    expect(one).toHaveLength(STEPS);
    expect(lossDifference(two, one)).toBeLessThan(1e-4);
    expect(lossDifference(four, one)).toBeLessThan(1e-4);
  });

  it('does not change the loss of each source, between the least and the largest of which that of the step lies', () => {
    const [one = [], two = [], four = []] = [1, 2, 4].map((workers) => byWorkers.get(workers));
    for (const [i, { loss, sourceLoss, sequences }] of one.entries()) {
      const losses = Object.values(sourceLoss);
      expect(Object.keys(sourceLoss)).toEqual(
        Object.keys(sequences).filter((source) => sequences[source as 'text'] > 0),
      );
      expect(Math.min(...losses)).toBeLessThanOrEqual(loss * (1 + 1e-6));
      expect(Math.max(...losses)).toBeGreaterThanOrEqual(loss * (1 - 1e-6));
      for (const [source, each] of Object.entries(sourceLoss))
        for (const other of [two, four])
          expect(Math.abs((other[i]?.sourceLoss[source] ?? 0) / each - 1)).toBeLessThan(1e-4);
    }
  });

  it('does not change which sequences a step consumes, and every source stays within one sequence of its share', () => {
    const weights = { captioned: 4, interleaved: 4, text: 1 } as const;
    const [one = [], two = [], four = []] = [1, 2, 4].map((workers) => byWorkers.get(workers));
    const eaten = { captioned: 0, interleaved: 0, text: 0 };
    for (const [i, { sequences }] of one.entries()) {
      expect(two[i]?.sequences).toEqual(sequences);
      expect(four[i]?.sequences).toEqual(sequences);
      for (const source of ['captioned', 'interleaved', 'text'] as const) eaten[source] += sequences[source];
      const total = eaten.captioned + eaten.interleaved + eaten.text;
      for (const source of ['captioned', 'interleaved', 'text'] as const) {
        expect(Math.abs(eaten[source] - (total * weights[source]) / 9)).toBeLessThan(1);
      }
    }
  });
});
