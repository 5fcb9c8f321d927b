import { expect, it } from 'vitest';
import {
  automaticLaw,
  completeData,
  completeModel,
  completeOptimizer,
  type DataConfig,
  initialCheckpoint,
  type LearningRateSource,
  type ModelConfig,
  type OptimizerConfig,
  resolveLayers,
  resolveRunConfig,
  withoutLaterDefaults,
} from './index.js';
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

it('a model that an older version stored gets the fields that came later, and without their defaults is as it was', () => {
  const { model } = resolveRunConfig(smallestRun);
  const { vision, decoder, ...rest } = model;
  const { imageSize, patchSize, width, depth, heads, feedForwardWidth } = vision;
  const { headWidth: _, ropeScaling: __, qkvBias: ___, tiedEmbeddings: ____, ...olderDecoder } = decoder;
  const older = {
    ...rest,
    vision: { imageSize, patchSize, width, depth, heads, feedForwardWidth },
    decoder: olderDecoder,
  } as ModelConfig;
  expect(completeModel(older)).toEqual(model);
  expect(withoutLaterDefaults(model)).toEqual(older);
  const { data, optimizer } = resolveRunConfig(smallestRun);
  const { images: _images, sources: _sources, chatTemplate: _template, ...olderData } = data;
  expect(completeData(olderData as DataConfig)).toEqual(data);
  const { subImages: _subImages, ...olderImages } = data.images;
  expect(completeData({ ...data, images: olderImages as DataConfig['images'] })).toEqual(data);
  const { kind: _kind, adafactor: _adafactor, learningRateFactors: _factors, ...olderOptimizer } = optimizer;
  expect(completeOptimizer(olderOptimizer as OptimizerConfig)).toEqual(optimizer);
  const tied = { ...model, decoder: { ...decoder, headWidth: 8, tiedEmbeddings: true } };
  expect(withoutLaterDefaults(tied)).toEqual({
    ...older,
    decoder: { ...olderDecoder, headWidth: 8, tiedEmbeddings: true },
  });
});

it('a run begins from one checkpoint, from one for each part, or from the seed', () => {
  const initFrom = (value: unknown) => resolveRunConfig({ ...smallestRun, initFrom: value }).initFrom;
  expect([initFrom(null), initFrom('runs/a')]).toEqual([null, 'runs/a']);
  expect(initFrom({ vision: 'clip' })).toEqual({ vision: 'clip', connector: null, decoder: null });
  expect(initialCheckpoint(initFrom({ vision: 'clip' }), 'vision')).toBe('clip');
  expect(initialCheckpoint(initFrom('runs/a'), 'decoder')).toBe('runs/a');
  expect(() => initFrom({ text: 'a' })).toThrow('unknown field "initFrom.text"');
  expect(() => initFrom(7)).toThrow('initFrom is 7, but must be the folder of a checkpoint');
});

it('a run trains a language model unless it says otherwise, and a kind of task that there is not is refused', () => {
  expect(resolveRunConfig(smallestRun).task).toEqual({ kind: 'languageModel' });
  const withTask = (task: object) => resolveRunConfig({ ...smallestRun, task });
  expect(() => withTask({ kind: 'languagemodel' })).toThrow(
    'task.kind is "languagemodel", but must be one of languageModel',
  );
  expect(() => withTask({ kind: 'languageModel', mask: 2 })).toThrow('unknown field "task.mask"');
});
