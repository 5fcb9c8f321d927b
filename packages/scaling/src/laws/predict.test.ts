import { describe, expect, it } from 'vitest';
import { fitLaw } from '../fits/fit-law.js';
import { FORMS, formula } from './power-law.js';
import { predict } from './predict.js';
import { publishedLaw } from './published-laws.js';

describe("MM1's law", () => {
  it.each([
    [9e6, '6.75e-4'],
    [85e6, '2.62e-4'],
    [302e6, '1.54e-4'],
    [1.2e9, '8.58e-5'],
    [2.9e9, '5.92e-5'],
    [6.4e9, '4.24e-5'],
    [30e9, '2.21e-5'],
  ])('gives %d parameters the rate %s and a tenth of it as weight decay', (params, wanted) => {
    const { value, weightDecay } = predict(publishedLaw('mm1'), { params });
    expect(value.toExponential(2)).toBe(wanted);
    expect(weightDecay).toBe(value * 0.1);
  });

  it('says how far a model lies outside its data, and that it has no interval', () => {
    expect(predict(publishedLaw('mm1'), { params: 30e9 })).toMatchObject({
      interval: null,
      outside: [{ variable: 'params', side: 'above', factor: 25 }],
    });
    expect(predict(publishedLaw('mm1'), { params: 3e6 }).outside).toEqual([
      { variable: 'params', side: 'below', factor: 3 },
    ]);
    expect(predict(publishedLaw('mm1'), { params: 85e6 }).outside).toEqual([]);
    expect(formula(publishedLaw('mm1'))).toBe('η = 0.5749·N^-0.4214');
  });
});

describe('Step Law', () => {
  it('gives rate and batch size from N and D', () => {
    const at = { params: 1e9, tokens: 1e11 };
    expect(predict(publishedLaw('step-law'), at).value).toBeCloseTo(1.79 * 1e9 ** -0.713 * 1e11 ** 0.307, 12);
    const batch = predict(publishedLaw('step-law-batch'), at);
    expect(batch.value).toBeCloseTo(0.58 * 1e11 ** 0.571, 3);
    expect(batch).toMatchObject({ target: 'batchSize', weightDecay: null, at: { tokens: 1e11 } });
  });

  it('asks for the tokens it depends on', () => {
    expect(() => predict(publishedLaw('step-law'), { params: 1e9 })).toThrow('step-law depends on tokens (D)');
    expect(() => predict(publishedLaw('step-law'), { params: 1e9, tokens: 0 })).toThrow('tokens is 0, but must be');
  });
});

describe('an interval', () => {
  const points = [1e6, 1e7, 1e8, 1e9].map((params, i) => ({
    params,
    value: 1e-2 * (1 + 0.1 * (i % 2)) * params ** -0.4,
  }));
  const { law } = fitLaw(points, { name: 'test', form: FORMS['eta-n'], source: 'a test' });
  const width = (params: number, level?: number) => {
    const interval = predict(law, { params }, level).interval;
    return Math.log((interval?.high ?? 0) / (interval?.low ?? 0));
  };

  it('widens with the distance from the data and with the level', () => {
    expect(width(1e8)).toBeLessThan(width(1e9));
    expect(width(1e9)).toBeLessThan(width(1e11));
    expect(width(1e9, 0.5)).toBeLessThan(width(1e9, 0.95));
    expect(width(1e9, 0.95)).toBeLessThan(width(1e9, 0.99));
  });
});

it('an unknown law names the one probably meant', () => {
  expect(() => publishedLaw('mn1')).toThrow('there is no published law "mn1"');
  try {
    publishedLaw('steplaw');
  } catch (thrown) {
    expect(thrown).toMatchObject({ code: 'not_found', hint: expect.stringContaining('write step-law,') });
  }
});
