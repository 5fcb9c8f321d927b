import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Home, lossDifference, type Metrics } from './weft.js';

const STEPS = 20;
let home: Home;
const byWorkers = new Map<number, Metrics[]>();
beforeAll(async () => {
  home = await Home.make();
  for (const workers of [1, 2, 4]) {
    byWorkers.set(workers, home.metrics(await home.train('debugTiny', workers, { steps: STEPS })));
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
