import { describe, expect, it } from 'vitest';
import { FORMS, fitLaw, formula, gptParameters, predict, prior } from './index.js';

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
    const { value, weightDecay } = predict(prior('mm1'), { params });
    expect(value.toExponential(2)).toBe(wanted);
    expect(weightDecay).toBe(value * 0.1);
  });

  it('says how far a model lies outside its data, and that it has no interval', () => {
    expect(predict(prior('mm1'), { params: 30e9 })).toMatchObject({
      interval: null,
      outside: [{ variable: 'params', side: 'above', factor: 25 }],
    });
    expect(predict(prior('mm1'), { params: 3e6 }).outside).toEqual([{ variable: 'params', side: 'below', factor: 3 }]);
    expect(predict(prior('mm1'), { params: 85e6 }).outside).toEqual([]);
    expect(formula(prior('mm1'))).toBe('η = 0.5749·N^-0.4214');
  });
});

describe('Step Law', () => {
  it('gives rate and batch size from N and D', () => {
    const at = { params: 1e9, tokens: 1e11 };
    expect(predict(prior('step-law'), at).value).toBeCloseTo(1.79 * 1e9 ** -0.713 * 1e11 ** 0.307, 12);
    const batch = predict(prior('step-law-batch'), at);
    expect(batch.value).toBeCloseTo(0.58 * 1e11 ** 0.571, 3);
    expect(batch).toMatchObject({ target: 'batchSize', weightDecay: null, at: { tokens: 1e11 } });
  });

  it('asks for the tokens it depends on', () => {
    expect(() => predict(prior('step-law'), { params: 1e9 })).toThrow('step-law depends on tokens (D)');
    expect(() => predict(prior('step-law'), { params: 1e9, tokens: 0 })).toThrow('tokens is 0, but must be');
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
  expect(() => prior('mn1')).toThrow('there is no published law "mn1"');
  try {
    prior('steplaw');
  } catch (thrown) {
    expect(thrown).toMatchObject({ code: 'not_found', cure: expect.stringContaining('write step-law,') });
  }
});

it("12·L·d² gives GPT's sizes: 85M, 302M, 1.21B, and the 9M of MM1's smallest", () => {
  const millions = (depth: number, width: number) => Math.round(gptParameters(depth, width) / 1e5) / 10;
  expect([millions(12, 768), millions(24, 1024), millions(24, 2048), millions(12, 256)]).toEqual([
    84.9, 302, 1208, 9.4,
  ]);
});
