import { isDeepStrictEqual } from 'node:util';
import { isJsonObject, type JsonObject } from '@weft/common';
import { merge } from './layers.js';
import { divides, type Problem, problem } from './problems.js';
import { BYTE_VOCABULARY_SIZE, DEFAULT_DECODER, type ModelConfig, type RunConfig } from './run-config.js';
import { type EncoderTaskConfig, isEncoderTask } from './task-config.js';

/** Stands for the parts of the model that a run of an encoder does not have. */
const NO_PARTS: Pick<ModelConfig, 'connector' | 'decoder'> = {
  connector: { kind: 'averagePool', tokensPerImage: 1, hiddenWidth: 1, depth: 1 },
  decoder: {
    ...DEFAULT_DECODER,
    ...{ vocabularySize: 1, width: 1, depth: 1, heads: 1, headWidth: 1, keyValueHeads: 1, feedForwardWidth: 1 },
    ...{ ropeTheta: 10_000, qkNorm: false, normEpsilon: 1e-5, moe: null },
  },
};

/** Fills in, below what was written, the fields that a run of an encoder has no use for. */
export function withoutUnusedParts(input: unknown): unknown {
  if (!isJsonObject(input) || !isJsonObject(input.task)) return input;
  const { kind } = input.task;
  if (kind !== 'contrastive' && kind !== 'reconstructive') return input;
  const length = kind === 'reconstructive' ? { sequenceLength: patchesOf(input) } : {};
  return merge({ data: { imagesPerSequence: 1 }, model: { ...length, ...NO_PARTS } }, input);
}

/** The patches of an image, in a configuration that is not yet checked. */
function patchesOf({ model }: JsonObject): number {
  const vision = isJsonObject(model) && isJsonObject(model.vision) ? model.vision : {};
  const side = Math.floor(Number(vision.imageSize) / Number(vision.patchSize));
  return side > 1 && Number.isFinite(side) ? side ** 2 : 2;
}

/** What must hold in a run that trains an encoder alone. */
export function* encoderRules(config: RunConfig): Generator<Problem> {
  const { task, data, evaluation, learningRateSource, model } = config;
  if (!isEncoderTask(task)) return;
  const trains = `task.kind is ${task.kind}, which trains an image encoder alone`;
  for (const part of ['connector', 'decoder'] as const) {
    if (!isDeepStrictEqual(model[part], NO_PARTS[part]))
      yield problem([`model.${part}`, 'task.kind'], `${trains}: leave model.${part} out`);
  }
  if (data.imagesPerSequence !== 1)
    yield problem(
      ['data.imagesPerSequence', 'task.kind'],
      `data.imagesPerSequence is ${data.imagesPerSequence}, but ${trains}, from one image at a time: leave it out`,
    );
  if (data.images.subImages !== null)
    yield problem(
      ['data.images.subImages', 'task.kind'],
      `data.images.subImages cuts pictures, but ${trains}, from whole ones: set it to null`,
    );
  for (const [source, weight] of Object.entries(data.weights)) {
    const kind = data.sources[source];
    if (weight > 0 && kind !== 'captioned')
      yield problem(
        [`data.weights.${source}`, 'task.kind'],
        `data.weights.${source} is ${weight}, but ${trains}, from captioned sources, and ${source} is ${kind}: set it to 0`,
      );
  }
  if (Object.keys(evaluation.tasks).length > 0)
    yield problem(
      ['evaluation.tasks', 'task.kind'],
      `${trains}, so there is no text to score: leave evaluation.tasks out`,
    );
  if (learningRateSource !== null)
    yield problem(
      ['optimizer.learningRate', 'task.kind'],
      `${trains}, for which no law gives a learning rate: write optimizer.learningRate as a number`,
    );
  yield* task.kind === 'contrastive' ? contrastiveRules(config, task) : reconstructiveRules(config);
}

function* contrastiveRules({ model: { vision }, data }: RunConfig, task: EncoderTaskConfig & { kind: 'contrastive' }) {
  const { text, pooling } = task;
  yield* divides('task.text.heads', text.heads, 'task.text.width', text.width);
  if (pooling === 'classToken' && !vision.classToken)
    yield problem(
      ['task.pooling', 'model.vision.classToken'],
      'task.pooling is classToken, but model.vision.classToken is false: set it to true, or task.pooling to attentionPool',
    );
  if (vision.featureLayer !== null)
    yield problem(
      ['model.vision.featureLayer', 'task.kind'],
      `model.vision.featureLayer is ${vision.featureLayer}, but task.kind contrastive reads the last block: leave it out`,
    );
  if (data.tokenizer === 'bytes' && text.vocabularySize < BYTE_VOCABULARY_SIZE)
    yield problem(
      ['task.text.vocabularySize', 'data.tokenizer'],
      `task.text.vocabularySize is ${text.vocabularySize}, but must be at least ${BYTE_VOCABULARY_SIZE} for the byte tokenizer`,
    );
}

function* reconstructiveRules({ model: { vision } }: RunConfig) {
  if (vision.classToken)
    yield problem(
      ['model.vision.classToken', 'task.kind'],
      'model.vision.classToken is true, but task.kind reconstructive predicts patches from those before them: set it to false',
    );
  if (vision.imageSize === vision.patchSize)
    yield problem(
      ['model.vision.patchSize', 'model.vision.imageSize'],
      `model.vision.patchSize is ${vision.patchSize}, but task.kind reconstructive needs at least two patches of an image of ${vision.imageSize} pixels`,
    );
}

/** What a mesh cuts over `tensor` beside the image encoder, by field. */
export function encoderMeshFields(task: EncoderTaskConfig): Readonly<Record<string, number>> {
  if (task.kind === 'reconstructive') return { 'task.headWidth': task.headWidth };
  const { heads, feedForwardWidth, vocabularySize } = task.text;
  return {
    'task.text.heads': heads,
    'task.text.feedForwardWidth': feedForwardWidth,
    'task.text.vocabularySize': vocabularySize,
  };
}
