import { Random } from '@weft/common';
import { describe, expect, it } from 'vitest';
import { FORMS } from '../laws/power-law.js';
import { predict } from '../laws/predict.js';
import { isGrid, reportOnGrid } from './fit-report.js';
import { optimaOfGrid, optimumOfScale } from './optimum.js';
import type { GridPoint } from './points.js';

const form = FORMS['eta-n'];
const rates = [1e-3, 2e-3, 4e-3, 8e-3, 16e-3];
const bowl = (best: number, params = 1e6, noise: (i: number) => number = () => 0): GridPoint[] =>
  rates.map((value, i) => ({ params, value, score: 2 + 0.1 * Math.log(value / best) ** 2 + noise(i) }));

describe('the optimum of a grid', () => {
  it('is the lowest point of the parabola, between the rates', () => {
    const optimum = optimumOfScale(bowl(3.1e-3), form);
    expect(optimum.value).toBeCloseTo(3.1e-3, 10);
    expect(optimum.score).toBeCloseTo(2, 10);
    expect(optimum.curvature).toBeCloseTo(0.2, 10);
    expect(optimum.standardError).toBeLessThan(1e-9);
    expect(optimum).toMatchObject({ runs: 5, bestTried: { value: 4e-3 }, at: { params: 1e6 } });
  });

  it('holds the truth in its 95 % interval in at least 93 % of 1,000 noisy trials', () => {
    let hits = 0;
    for (let trial = 0; trial < 1000; trial++) {
      const random = Random.of('optimum', trial);
      const { interval } = optimumOfScale(
        bowl(4.4e-3, 1e6, () => 0.004 * random.normal()),
        form,
      );
      if (interval !== null && interval.low <= 4.4e-3 && 4.4e-3 <= interval.high) hits++;
    }
    expect(hits).toBeGreaterThanOrEqual(930);
  });

  it('has no uncertainty of its own where three rates fix it', () => {
    const points = bowl(4e-3).slice(1, 4);
    expect(optimumOfScale(points, form)).toMatchObject({ standardError: null, interval: null, runs: 3 });
  });

  it('leaves far rates out of the parabola', () => {
    const far = { params: 1e6, value: 1, score: 9 };
    expect(optimumOfScale([...bowl(4e-3), far], form).value).toBeCloseTo(4e-3, 9);
  });

  it('takes several seeds of a rate as they are', () => {
    const both = [...bowl(4e-3, 1e6, (i) => 0.01 * i), ...bowl(4e-3, 1e6, (i) => -0.01 * i)];
    expect(optimumOfScale(both, form)).toMatchObject({ runs: 10, value: expect.closeTo(4e-3, 9) });
  });

  it('counts a run that diverged as worse than every other', () => {
    const points = bowl(5e-3).map((point) => (point.value === 16e-3 ? { ...point, score: null } : point));
    expect(optimumOfScale(points, form)).toMatchObject({ runs: 4, value: expect.closeTo(5e-3, 9) });
  });

  it.each([
    ['lowest', 1e-4, 'at its lowest rate 0.001, so that the optimum may lie beyond', 'add rates below 0.001'],
    ['highest', 1, 'at its highest rate 0.016, so that the optimum may lie beyond', 'add rates above 0.016'],
  ])('is refused at the %s rate of the grid', (_, best, message, hint) => {
    expect(() => optimumOfScale(bowl(best), form)).toThrow(
      expect.objectContaining({ code: 'failed_precondition', message: expect.stringContaining(message), hint }),
    );
  });

  it('is the highest point where higher is better, in its own numbers', () => {
    const scores = bowl(3.1e-3).map((point) => ({ ...point, score: 1 - (point.score ?? 0) }));
    const metric = { name: 'accuracy', better: 'higher' } as const;
    const optimum = optimumOfScale(scores, form, { metric });
    expect(optimum.value).toBeCloseTo(3.1e-3, 10);
    expect(optimum.score).toBeCloseTo(-1, 10);
    expect(optimum.curvature).toBeCloseTo(-0.2, 10);
    expect(optimum.bestTried.value).toBe(4e-3);
    expect(() => optimumOfScale(bowl(3.1e-3), form, { metric })).toThrow('the highest accuracy lies on the edge');
  });

  it('does not lie beyond a rate of which a run diverged', () => {
    const points = [3, 2.9, 2.75, null, null].map((score, i) => ({ params: 1e6, value: rates[i] ?? 0, score }));
    expect(() => optimumOfScale(points, form)).toThrow('N = 1000000: the lowest loss has no clear place');
    const bent = [3, 2.4, 2.3, null, null].map((score, i) => ({ params: 1e6, value: rates[i] ?? 0, score }));
    expect(optimumOfScale(bent, form).value).toBeLessThan(8e-3);
  });

  it('is refused by name where two rates alone have a loss', () => {
    const points = [null, 2.9, 2.8, null].flatMap((score, i) => [
      { params: 1e6, value: rates[i] ?? 0, score },
      { params: 1e6, value: rates[i] ?? 0, score },
    ]);
    expect(() => optimumOfScale(points, form)).toThrow('N = 1000000: 2 rates with a loss cannot enclose an optimum');
  });

  it('is refused where the losses do not bend, where there are too few, and where none is a number', () => {
    const wavy = rates.map((value, i) => ({ params: 1e6, value, score: [1, 2, 1.1, 0.99, 1.01][i] ?? null }));
    expect(() => optimumOfScale(bowl(2e-3).slice(0, 2), form)).toThrow('2 rates with a loss cannot enclose an optimum');
    const flat = [1, 0.9, 1].map((score, i) => ({ params: 1e6, value: rates[i] ?? 0, score }));
    expect(optimumOfScale(flat, form).value).toBeCloseTo(2e-3, 9);
    expect(() => optimumOfScale(wavy, form)).not.toThrow();
    const diverged = rates.map((value) => ({ params: 1e6, value, score: null }));
    expect(() => optimumOfScale(diverged, form)).toThrow('nothing that was tried has a loss');
    const broken = [{ params: 1e6, value: 1e-3, score: Number.NaN }];
    expect(() => optimaOfGrid(broken, form)).toThrow('point 1: the score is NaN, but must be a number');
  });

  it('names every scale that has none', () => {
    const grid = [...bowl(1e-4, 1e6), ...bowl(4e-3, 1e7), ...bowl(1, 1e8)];
    expect(() => optimaOfGrid(grid, form)).toThrow(
      /2 scales have no optimum:\n {2}- N = 1000000: .*\n {2}- N = 100000000: /,
    );
  });
});

describe('a law through the optima of a grid', () => {
  const law = (params: number) => 2 * params ** -0.45;
  const scales = [1e5, 4e5, 1.6e6, 6.4e6];
  const grid = scales.flatMap((params, scale) =>
    [0.25, 0.5, 1, 2, 4].map((factor, i) => {
      const value = law(params) * factor;
      const noise = 0.001 * Math.sin(7 * scale + 3 * i);
      return { params, value, score: 3 + 0.05 * Math.log(factor) ** 2 + noise };
    }),
  );

  it('finds the law, with either weighting, and keeps optima and grid', () => {
    expect(isGrid(grid, { form })).toBe(true);
    for (const weighting of ['equal', 'uncertainty'] as const) {
      const report = reportOnGrid(grid, { name: 'test', form, source: 'a test', weighting });
      expect(report.law.exponents[0]).toBeCloseTo(-0.45, 1);
      expect(report.optima).toHaveLength(4);
      expect(report.grid).toBe(grid);
      expect(report.points.every(({ weight }) => (weight === undefined) === (weighting === 'equal'))).toBe(true);
    }
  });

  it('has intervals of one size with either weighting, and no weights where three rates fix an optimum', () => {
    const width = (weighting: 'equal' | 'uncertainty') => {
      const { law: fitted } = reportOnGrid(grid, { name: 'test', form, source: 'a test', weighting });
      const { interval } = predict(fitted, { params: 1e8 });
      return Math.log((interval?.high ?? 0) / (interval?.low ?? 1));
    };
    expect(width('uncertainty') / width('equal')).toBeGreaterThan(0.2);
    expect(width('uncertainty') / width('equal')).toBeLessThan(5);
    const three = grid.filter(({ value, params }) => Math.abs(Math.log(value / law(params))) < 1);
    const options = { name: 'test', form, source: 'a test', weighting: 'uncertainty' } as const;
    expect(() => reportOnGrid(three, options)).toThrow('N = 100000: three runs say nothing of their own uncertainty');
  });

  it('is no grid when every scale has one rate, or there are no losses', () => {
    expect(
      isGrid(
        scales.map((params) => ({ params, value: law(params), score: 3 })),
        { form },
      ),
    ).toBe(false);
    expect(
      isGrid(
        grid.map(({ params, value }) => ({ params, value })),
        { form },
      ),
    ).toBe(false);
  });
});
