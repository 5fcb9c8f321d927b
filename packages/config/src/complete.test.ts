import { expect, it } from 'vitest';
import { automaticLaw, type LearningRateSource, resolveLayers, resolveRunConfig } from './index.js';
import { smallestRun } from './testing/smallest-run.js';

const smallest = { ...smallestRun, optimizer: { learningRate: 'auto' } };

const source: LearningRateSource = {
  value: 2e-3,
  fit: 'mine',
  formula: 'η = 1·N^-0.4',
  source: 'a test',
  params: 9e5,
  tokens: 61_440,
  interval: { low: 1e-3, high: 4e-3, level: 0.95 },
  extrapolation: 1,
};

it.each([
  ['auto', 'mm1'],
  ['auto:step-law', 'step-law'],
  ['auto:fits/mine.json', 'fits/mine.json'],
  [3e-4, undefined],
  ['automatic', undefined],
])('a learning rate of %j asks for the law %s', (learningRate, law) => {
  expect(automaticLaw({ optimizer: { learningRate } })).toBe(law);
});

it('no optimizer asks for no law', () => {
  for (const input of [{}, null, 'text', { optimizer: null }]) expect(automaticLaw(input)).toBeUndefined();
});

it('an automatic rate is found from the model and steps, recorded, and followed by the weight decay', () => {
  const config = resolveLayers([{ value: smallest }], (run) => ({
    ...source,
    params: run.model.decoder.width * run.steps,
  }));
  expect(config.optimizer).toMatchObject({ learningRate: 2e-3, weightDecay: 2e-4 });
  expect(config.learningRateSource).toEqual({ ...source, params: 128 * 60 });
  expect(resolveRunConfig(JSON.parse(JSON.stringify(config)))).toEqual(config);
});

it('a source is forgotten when the rate is changed by hand', () => {
  const config = resolveLayers([{ value: smallest }], () => source);
  const changed = { ...config, optimizer: { ...config.optimizer, learningRate: 5e-3 } };
  expect(resolveRunConfig(changed).learningRateSource).toBeNull();
});

it('a rate by hand asks nobody', () => {
  const byHand = { ...smallest, optimizer: { learningRate: 1e-3 } };
  const config = resolveLayers([{ value: byHand }], () => expect.fail('asked'));
  expect(config.learningRateSource).toBeNull();
});
