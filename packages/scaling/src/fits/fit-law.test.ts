import { Random } from '@weft/common';
import { describe, expect, it } from 'vitest';
import { FORMS, formula } from '../laws/power-law.js';
import { predict } from '../laws/predict.js';
import { publishedLaw } from '../laws/published-laws.js';
import { fitLaw, leaveLargestOut, leaveOneOut } from './fit-law.js';
import { reportOnPoints } from './fit-report.js';

const form = FORMS['eta-n'];
const options = { name: 'test', form, source: 'a test' };
const [intercept, exponent] = [-0.5535, -0.4214];
const law = (params: number) => Math.exp(exponent * Math.log(params) + intercept);
/** MM1's four grid-searched scales. */
const scales = [9e6, 85e6, 302e6, 1.2e9];
const exact = scales.map((params) => ({ params, value: law(params) }));

describe('a fitted law', () => {
  it('is the law itself when its points lie on it', () => {
    const { estimates } = fitLaw(exact, options);
    expect(estimates[0]?.value).toBeCloseTo(intercept, 10);
    expect(estimates[1]?.value).toBeCloseTo(exponent, 10);
  });

  it("holds the law's coefficients in its own 95 % intervals in at least 93 % of 1,000 trials with 5 % noise", () => {
    const hits = { intercept: 0, exponent: 0, both: 0, next: 0 };
    for (let trial = 0; trial < 1000; trial++) {
      const random = Random.of('coverage', trial);
      const points = scales.map((params) => ({ params, value: law(params) * Math.exp(0.05 * random.normal()) }));
      const fit = fitLaw(points, options);
      const inside = (k: number, truth: number) => {
        const interval = fit.estimates[k]?.interval;
        return interval !== undefined && interval.low <= truth && truth <= interval.high;
      };
      const found = { intercept: inside(0, intercept), exponent: inside(1, exponent) };
      if (found.intercept) hits.intercept++;
      if (found.exponent) hits.exponent++;
      if (found.intercept && found.exponent) hits.both++;
      const interval = predict(fit.law, { params: 30e9 }).interval;
      const observed = law(30e9) * Math.exp(0.05 * random.normal());
      if (interval !== null && interval.low <= observed && observed <= interval.high) hits.next++;
    }
    for (const [name, count] of Object.entries(hits)) expect(count, name).toBeGreaterThanOrEqual(930);
    for (const count of [hits.intercept, hits.exponent, hits.next]) expect(count).toBeLessThanOrEqual(970);
  });

  it('does not depend on the order of its points, nor on a factor common to all weights', () => {
    const noisy = exact.map((point, i) => ({ ...point, value: point.value * (1 + 0.03 * (i - 1)), weight: i + 1 }));
    const one = fitLaw(noisy, options).estimates;
    const other = fitLaw(
      noisy.toReversed().map((point) => ({ ...point, weight: point.weight * 1000 })),
      options,
    );
    for (const [k, { value, standardError }] of other.estimates.entries()) {
      expect(value).toBeCloseTo(one[k]?.value ?? 0, 10);
      expect(standardError).toBeCloseTo(one[k]?.standardError ?? 0, 10);
    }
  });

  it('predicts an observation of average weight: a factor common to all weights changes no interval', () => {
    const noisy = exact.map((point, i) => ({ ...point, value: point.value * (1 + 0.03 * (i - 1)), weight: i + 1 }));
    const interval = (factor: number) =>
      predict(
        reportOnPoints(
          noisy.map((point) => ({ ...point, weight: factor * point.weight })),
          options,
        ).law,
        {
          params: 3e10,
        },
      ).interval;
    expect(interval(1000)?.high).toBeCloseTo(interval(1)?.high ?? 0, 12);
    const alike = reportOnPoints(
      noisy.map((point) => ({ ...point, weight: 7 })),
      options,
    );
    const plain = reportOnPoints(
      noisy.map(({ params, value }) => ({ params, value })),
      options,
    );
    expect(predict(alike.law, { params: 3e10 }).interval?.low).toBeCloseTo(
      predict(plain.law, { params: 3e10 }).interval?.low ?? 0,
      12,
    );
  });

  it('is not followed to where its numbers end', () => {
    const near = [1e6, 1e6 + 1, 1e6 + 2].map((params, i) => ({ params, value: 1e-3 * (1 + 0.1 * i) }));
    const { law: steep } = fitLaw(near, options);
    expect(() => predict(steep, { params: 3e10 })).toThrow('test gives no finite number at N = 30000000000');
  });

  it('recovers Step Law, of two variables, and its batch size, of one', () => {
    const places = [6e7, 2e8, 1e9].flatMap((params) => [2e9, 1e11].map((tokens) => ({ params, tokens })));
    const points = (name: string) => places.map((at) => ({ ...at, value: predict(publishedLaw(name), at).value }));
    const rate = fitLaw(points('step-law'), { ...options, form: FORMS['eta-nd'] });
    expect(formula(rate.law)).toBe('η = 1.79·N^-0.713·D^0.307');
    const tokens = [2e9, 1e10, 1e11, 1e12].map((each) => ({ tokens: each }));
    const batches = tokens.map((at) => ({ ...at, value: predict(publishedLaw('step-law-batch'), at).value }));
    expect(formula(fitLaw(batches, { ...options, form: FORMS['batch-d'] }).law)).toBe('B = 0.58·D^0.571');
  });

  it('refuses one scale, two scales, and numbers without a logarithm, each with its reason', () => {
    const same = [1, 2, 3].map((i) => ({ params: 1e6, value: i * 1e-3 }));
    expect(() => fitLaw(same, options)).toThrow('all points are of one scale, but a law needs at least 3 different N');
    expect(() => fitLaw(exact.slice(2), options)).toThrow('the points are of 2 scales');
    for (const bad of [0, -1, Number.NaN, Number.POSITIVE_INFINITY]) {
      const refusal = (name: string) => `point 5: ${name} is ${bad}, but must be a number above 0`;
      expect(() => fitLaw([...exact, { params: 1e7, value: bad }], options)).toThrow(refusal('learningRate'));
      expect(() => fitLaw([...exact, { params: bad, value: 1e-3 }], options)).toThrow(refusal('params'));
      const weighted = { params: 1e7, value: 1e-3, weight: bad };
      expect(() => fitLaw([...exact, weighted], options)).toThrow(refusal('weight'));
    }
  });

  it('refuses variables that move in step', () => {
    const locked = scales.map((params) => ({ params, tokens: 20 * params, value: law(params) }));
    const call = () => fitLaw(locked, { ...options, form: FORMS['eta-nd'] });
    expect(call).toThrow('the points do not determine the coefficients');
  });
});

describe('back-tests', () => {
  const bent = exact.map((point, i) => (i === 3 ? { ...point, value: point.value * 1.5 } : point));

  it('predict every scale from the others, exactly where the law is exact', () => {
    const tests = leaveOneOut(exact, form);
    expect(tests.map(({ at }) => at.params)).toEqual(scales);
    for (const { ratio } of tests) expect(ratio).toBeCloseTo(1, 9);
  });

  it('see a largest scale that does not follow the smaller ones', () => {
    const test = leaveLargestOut(bent, form);
    expect(test?.ratio).toBeCloseTo(1 / 1.5, 9);
    expect(test?.isInside).toBe(false);
    expect(reportOnPoints(bent, options).warnings).toContain(
      'the smaller scales predict the largest 1.50 times too low',
    );
  });

  it('leave all points of a scale out together', () => {
    const twice = [...exact, ...exact.map((point) => ({ ...point, value: point.value * 1.02 }))];
    expect(leaveOneOut(twice, form)).toHaveLength(4);
  });

  it('have no interval where two scales remain', () => {
    expect(leaveLargestOut(exact.slice(0, 3), form)).toMatchObject({ interval: null, isInside: null });
  });
});

describe('warnings', () => {
  it('speak of points that are there twice, and of points without any scatter', () => {
    const noisy = exact.map((point, i) => ({ ...point, value: point.value * (1 + 0.01 * (i % 2)) }));
    expect(reportOnPoints([...noisy, ...noisy.slice(1)], options).warnings).toEqual([
      '3 of 7 points repeat another one, which makes the intervals too narrow',
    ]);
    expect(reportOnPoints(exact, options).warnings).toEqual([
      'the points lie on the law to the last digit: its intervals say nothing about how sure it is',
    ]);
  });

  it('are not given for points on a law', () => {
    const noisy = exact.map((point, i) => ({ ...point, value: point.value * (1 + 0.01 * (i % 2)) }));
    expect(reportOnPoints(noisy, options).warnings).toEqual([]);
  });

  it('speak of few scales, a narrow span, scatter, and a rate that rises with size', () => {
    const points = [1e6, 2e6, 4e6].map((params, i) => ({ params, value: [1e-3, 3e-3, 2e-3][i] ?? 0 }));
    const { warnings } = reportOnPoints(points, options);
    expect(warnings).toContain('3 points leave 1 degree of freedom: the intervals are very wide');
    expect(warnings.join()).toContain('3 scales are the fewest a law can have');
    expect(warnings).toContain('the scales span a factor of 4.0 only: extrapolate with care');
    expect(warnings.join()).toMatch(/the law explains \d+ % of the variation/);
    expect(warnings).toContain('the best learning rate does not fall with size, against every published law');
  });
});
