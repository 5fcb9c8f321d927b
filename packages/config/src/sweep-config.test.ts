import { WeftError } from '@weft/common';
import { expect, it } from 'vitest';
import { parseConfigText, resolveSweep } from './index.js';

const read = (text: string) => resolveSweep(parseConfigText(text, 'sweep.yaml'));
const smallest = 'name: demo\nrecipe: debugNano\nscales: [{ name: small }]\nlearningRates: [0.01]\n';

it('fills in the defaults', () => {
  expect(read(smallest)).toEqual({
    name: 'demo',
    recipe: 'debugNano',
    run: {},
    scales: [{ name: 'small', run: {}, learningRates: [0.01] }],
    seeds: [0],
    metric: 'trainingLoss',
    higherIsBetter: false,
    lastSteps: 10,
    earlyStop: { afterPart: 0.5, worseBy: 0.1 },
    predict: [],
  });
});

it('spaces rates evenly in their logarithms, sorts lists, and lets a scale have its own', () => {
  const text = `${smallest}`.replace('[0.01]', '{ lowest: 1.0e-3, highest: 1.6e-2, count: 5 }');
  expect(read(text).scales[0]?.learningRates).toEqual([0.001, 0.002, 0.004, 0.008, 0.016]);
  const own = smallest.replace('{ name: small }', '{ name: small, learningRates: [3, 1, 2, 1] }');
  expect(read(own).scales[0]?.learningRates).toEqual([1, 2, 3]);
});

it('keeps early stopping off where it is null', () => {
  expect(read(`${smallest}earlyStop: null\n`).earlyStop).toBeNull();
  expect(read(`${smallest}earlyStop: { worseBy: 0.3 }\n`).earlyStop).toEqual({ afterPart: 0.5, worseBy: 0.3 });
});

it.each([
  [smallest.replace('name: demo', 'name: Demo!'), 'sweep.yaml:1: name is "Demo!", but must be lower-case letters'],
  [
    smallest.replace('learningRates: [0.01]', ''),
    'sweep.yaml:3: the scale small has no learningRates, nor has the sweep',
  ],
  [smallest.replace('[0.01]', '[0.01, -1]'), 'learningRates.1 is -1, but must be a number above 0'],
  [
    smallest.replace('[0.01]', 'fast'),
    'learningRates is "fast", but must be a list of rates, or lowest, highest and count',
  ],
  [smallest.replace('[{ name: small }]', '[{ name: a }, { name: a }]'), 'two scales are called a'],
  [`${smallest}metrics: loss\n`, 'sweep.yaml:5: unknown field "metrics", did you mean metric?'],
  [`${smallest}metric: loss\n`, 'metric is "loss", but must be one of trainingLoss, heldOutLoss'],
  ['recipe: debugNano\n', 'name is missing'],
])('refuses %j', (text, message) => {
  expect(() => read(text)).toThrow(expect.objectContaining({ code: 'invalid_argument' }));
  try {
    read(text);
  } catch (thrown) {
    expect(WeftError.from(thrown).message).toContain(message);
  }
});
