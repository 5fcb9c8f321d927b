import { readFileSync } from 'node:fs';
import { describe, expect, it, test } from 'vitest';
import { fitLaw } from '../fits/fit-law.js';
import { optimumOfScale } from '../fits/optimum.js';
import type { ScalePoint } from '../fits/points.js';
import { FORMS, type LawInputs } from '../laws/power-law.js';
import { predict } from '../laws/predict.js';
import { studentT, studentTProbability } from './student-t.js';

/** What an independent statistics package says; `source` in the file names it. */
interface Fixture {
  readonly source: string;
  readonly fourScales: FixtureFit;
  readonly weighted: FixtureFit;
  readonly twoVariables: FixtureFit;
  readonly parabola: {
    readonly learningRates: readonly number[];
    readonly losses: readonly number[];
    readonly value: number;
    readonly standardError: number;
    readonly interval: readonly [number, number];
    readonly loss: number;
    readonly curvature: number;
  };
  readonly studentT: readonly { readonly level: number; readonly degreesOfFreedom: number; readonly t: number }[];
}

interface FixtureFit {
  readonly points: readonly ScalePoint[];
  readonly coefficients: readonly number[];
  readonly standardErrors: readonly number[];
  readonly intervals: readonly (readonly [number, number])[];
  readonly residualVariance: number;
  readonly rSquared: number;
  readonly degreesOfFreedom: number;
  readonly predictions: readonly {
    readonly at: LawInputs;
    readonly log: number;
    readonly low: number;
    readonly high: number;
  }[];
}

const fixture: Fixture = JSON.parse(
  readFileSync(new URL('../../test-fixtures/statistics.json', import.meta.url), 'utf8'),
);

/** Equal to a relative 1e-9. */
const expectClose = (actual: number | undefined, wanted: number | undefined, within = 1e-9) =>
  expect(Math.abs((actual ?? Number.NaN) / (wanted ?? Number.NaN) - 1)).toBeLessThan(within);

describe(`compared with ${fixture.source}`, () => {
  it.each([
    ['four scales', fixture.fourScales, FORMS['eta-n']],
    ['seven weighted scales', fixture.weighted, FORMS['eta-n']],
    ['two variables', fixture.twoVariables, FORMS['eta-nd']],
  ] as const)('a fit of %s has the same coefficients, intervals and predictions', (_, wanted, form) => {
    const { law, estimates } = fitLaw(wanted.points, { name: 'test', form, source: 'a test' });
    for (const [k, { value, standardError, interval }] of estimates.entries()) {
      expectClose(value, wanted.coefficients[k]);
      expectClose(standardError, wanted.standardErrors[k]);
      expectClose(interval.low, wanted.intervals[k]?.[0]);
      expectClose(interval.high, wanted.intervals[k]?.[1]);
    }
    expect(estimates).toHaveLength(wanted.coefficients.length);
    expectClose(law.statistics?.residualVariance, wanted.residualVariance);
    expectClose(law.statistics?.rSquared ?? undefined, wanted.rSquared);
    expect(law.statistics?.degreesOfFreedom).toBe(wanted.degreesOfFreedom);
    for (const { at, log, low, high } of wanted.predictions) {
      const { value, interval } = predict(law, at);
      expectClose(value, Math.exp(log));
      expectClose(interval?.low, Math.exp(low));
      expectClose(interval?.high, Math.exp(high));
    }
  });

  test('the optimum of a grid has the same place, loss, bend and uncertainty', () => {
    const { learningRates, losses, ...wanted } = fixture.parabola;
    const points = learningRates.map((value, i) => ({ params: 1e6, value, score: losses[i] ?? null }));
    const optimum = optimumOfScale(points, FORMS['eta-n']);
    expectClose(optimum.value, wanted.value);
    expectClose(optimum.standardError ?? undefined, wanted.standardError);
    expectClose(optimum.interval?.low, wanted.interval[0]);
    expectClose(optimum.interval?.high, wanted.interval[1]);
    expectClose(optimum.score, wanted.loss);
    expectClose(optimum.curvature, wanted.curvature);
  });

  test("Student's t agrees to 1e-12 from one degree of freedom to a thousand", () => {
    for (const { level, degreesOfFreedom, t } of fixture.studentT)
      expectClose(studentT(level, degreesOfFreedom), t, 1e-12);
  });
});

test("Student's t is the inverse of its distribution, also far out", () => {
  for (const degreesOfFreedom of [1, 2, 3, 8, 25, 400])
    for (const level of [0.01, 0.5, 0.95, 0.9999])
      expectClose(studentTProbability(studentT(level, degreesOfFreedom), degreesOfFreedom), level, 1e-13);
});

test("Student's t refuses what is no level and no number of degrees of freedom", () => {
  expect(() => studentT(1, 3)).toThrow('a level lies between 0 and 1, not 1');
  expect(() => studentT(0.95, 0)).toThrow('degrees of freedom are whole and at least 1, not 0');
});
