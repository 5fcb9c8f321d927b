import { describe, expect, it } from 'vitest';
import { resolveRunConfig } from './resolve.js';
import type { RunConfigInput } from './run-config.js';
import { settingLayers } from './settings.js';

const text = { width: 16, depth: 1, heads: 2, feedForwardWidth: 32 };
const vision = { imageSize: 16, patchSize: 8, width: 16, depth: 1, heads: 2, feedForwardWidth: 32 };
const weights = { captioned: 1, interleaved: 0, text: 0 };
const common = { steps: 10, globalBatchSize: 8, data: { directory: 'd', weights }, optimizer: { learningRate: 1e-3 } };

const clip = (changes: object = {}, task: object = {}): RunConfigInput => ({
  ...common,
  task: { kind: 'contrastive', embeddingWidth: 8, text, ...task } as never,
  model: { sequenceLength: 32, vision: { ...vision, classToken: true } },
  ...changes,
});
const aim = (changes: object = {}): RunConfigInput => ({
  ...common,
  task: { kind: 'reconstructive', headWidth: 16, headDepth: 1 } as never,
  model: { vision },
  ...changes,
});

const message = (input: RunConfigInput) => {
  try {
    resolveRunConfig(input);
  } catch (thrown) {
    return (thrown as Error).message;
  }
  return 'it resolves';
};

it('an encoder alone needs no connector and no decoder, and resolves to itself', () => {
  const resolved = resolveRunConfig(clip());
  expect(resolved.task).toEqual({
    kind: 'contrastive',
    embeddingWidth: 8,
    pooling: 'classToken',
    initialScale: 1 / 0.07,
    text: { ...text, vocabularySize: 260, activation: 'quickGelu', normEpsilon: 1e-5 },
  });
  expect(resolved.data.imagesPerSequence).toBe(1);
  expect(resolveRunConfig(JSON.parse(JSON.stringify(resolved)))).toEqual(resolved);
  expect(resolveRunConfig(aim()).model.sequenceLength).toBe(4);
  expect(resolveRunConfig(resolveRunConfig(aim()))).toEqual(resolveRunConfig(aim()));
});

it('fields of a kind are set from the command line, and those of another kind are refused', () => {
  const set = (...settings: string[]) => settingLayers(settings).map(({ value }) => value);
  expect(set('task.kind=reconstructive', 'task.headWidth=8', 'task.text.heads=2')).toEqual([
    { task: { kind: 'reconstructive' } },
    { task: { headWidth: 8 } },
    { task: { text: { heads: 2 } } },
  ]);
  expect(() => set('task.headwidth=8')).toThrow('unknown field "task.headwidth", did you mean task.headWidth?');
  expect(() => set('task=contrastive')).toThrow('task is a group, set one of its fields: kind, embeddingWidth');
  expect(message(aim({ task: { kind: 'reconstructive', headWidth: 8, headDepth: 1, pooling: 'classToken' } }))).toBe(
    'task.pooling is no field of this task.kind',
  );
});

describe('refuses', () => {
  it.each([
    [
      'a decoder',
      clip({ model: { ...clip().model, decoder: { width: 8, depth: 1, heads: 1, feedForwardWidth: 8 } } }),
      'task.kind is contrastive, which trains an image encoder alone: leave model.decoder out',
    ],
    [
      'other sources than captioned ones',
      aim({ data: { directory: 'd', weights: { captioned: 1, interleaved: 2, text: 0 } } }),
      'data.weights.interleaved is 2, but task.kind is reconstructive, which trains an image encoder alone, from captioned sources, and interleaved is interleaved: set it to 0',
    ],
    [
      'several images a pair',
      clip({ data: { directory: 'd', weights, imagesPerSequence: 4 } }),
      'data.imagesPerSequence is 4, but task.kind is contrastive, which trains an image encoder alone, from one image at a time: leave it out',
    ],
    [
      'a class token that is not there',
      clip({ model: { sequenceLength: 32, vision } }),
      'task.pooling is classToken, but model.vision.classToken is false: set it to true, or task.pooling to attentionPool',
    ],
    [
      'a class token before patches that are predicted',
      aim({ model: { vision: { ...vision, classToken: true } } }),
      'model.vision.classToken is true, but task.kind reconstructive predicts patches from those before them: set it to false',
    ],
    [
      'an image of one patch',
      aim({ model: { vision: { ...vision, patchSize: 16 } } }),
      'model.vision.patchSize is 16, but task.kind reconstructive needs at least two patches of an image of 16 pixels',
    ],
    [
      'heads that do not divide the width',
      clip({}, { text: { ...text, heads: 3 } }),
      'task.text.heads is 3, but must divide task.text.width (16)',
    ],
    [
      'a scale above 100',
      clip({}, { initialScale: 101 }),
      'task.initialScale is 101, but must be a number above 0 and at most 100',
    ],
    [
      'a vocabulary that nobody names',
      clip({ data: { directory: 'd', weights, tokenizer: 't.json' } }),
      'task.text.vocabularySize is missing: it must be the vocabulary of t.json, a whole number of at least 1',
    ],
    [
      'texts to generate',
      aim({ evaluation: { tasks: 'demo', sequencesPerSource: 4 } }),
      'task.kind is reconstructive, which trains an image encoder alone, so there is no text to score: leave evaluation.tasks out',
    ],
  ])('%s', (_, input, expected) => {
    expect(message(input as RunConfigInput)).toContain(expected);
  });
});
