import { join } from 'node:path';
import { checkpointDirectory, writeManifest, writeShard } from '@weft/checkpoint';
import { type InitialWeights, type RunConfig, resolveRunConfig } from '@weft/config';
import { initialValue, modelParameters } from '@weft/model';
import { type TemporaryDirectory, temporaryDirectory, tinyRun } from '@weft/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkInitialWeights, initialSources } from './initial-weights.js';
import { taskOf } from './task-of.js';
import { taskParameter } from './task-parameter.js';

let directory: TemporaryDirectory;
let written = 0;
beforeEach(async () => {
  directory = await temporaryDirectory();
});
afterEach(() => directory.remove());

const configOf = (model: object = {}, initFrom: InitialWeights | null = null): RunConfig =>
  resolveRunConfig({ ...tinyRun, initFrom, model: { ...tinyRun.model, ...model } });

/** A checkpoint of all parameters of a model, or of those that are wanted. */
async function checkpointOf({ model }: RunConfig, isWanted = (_name: string) => true): Promise<string> {
  const checkpoint = checkpointDirectory(join(directory.path, `${++written}`), 1);
  const tensors = modelParameters(model)
    .filter(({ name }) => isWanted(name))
    .map((spec) => ({ name: spec.name, shape: spec.shape, data: initialValue(spec, 3) }));
  const file = await writeShard({ directory: checkpoint, rank: 0, worldSize: 1, tensors });
  await writeManifest(checkpoint, { runId: 'r', step: 1, nextSequence: 1, config: {}, files: [file] });
  return checkpoint;
}

const check = (model: object, initFrom: InitialWeights) => checkInitialWeights(configOf(model, initFrom));
const { vision, decoder } = tinyRun.model;

describe('a run may begin', () => {
  it('from a checkpoint of its model, and from the seed', async () => {
    await check({}, await checkpointOf(configOf()));
    await checkInitialWeights(configOf());
  });

  it('with every part from a checkpoint of its own, or from the seed', async () => {
    const clip = await checkpointOf(configOf(), (name) => name.startsWith('vision/'));
    const text = await checkpointOf(configOf(), (name) => name.startsWith('decoder/'));
    const initFrom = { vision: clip, connector: null, decoder: text };
    await check({}, initFrom);
    const sources = await initialSources(
      modelParameters(configOf().model).map((spec) => taskParameter(spec)),
      initFrom,
    );
    expect(sources.map((source) => source.directory)).toEqual([clip, text]);
    for (const { parameters } of sources) expect(parameters.length).toBeGreaterThan(5);
    await expect(check({}, clip)).rejects.toThrow(/it lacks connector.*decoder\/embedding/);
  });

  it('with learned positions of another grid, which are resized', async () => {
    const checkpoint = await checkpointOf(configOf());
    const larger = configOf({ vision: { ...vision, imageSize: 16 } }, checkpoint);
    await checkInitialWeights(larger);
    const [source] = await initialSources(
      modelParameters(larger.model).map((spec) => taskParameter(spec)),
      checkpoint,
    );
    expect(source?.resized).toEqual([{ name: 'vision/positions', shape: [16, 8], storedShape: [4, 8] }]);
  });

  it('with an encoder that ends before the one of the checkpoint', async () => {
    const deep = await checkpointOf(configOf({ vision: { ...vision, depth: 3 } }));
    await check({ vision: { ...vision, depth: 3, featureLayer: 2, outputNorm: false } }, deep);
  });
});

describe('a run is refused', () => {
  it('that begins from other shapes, all of them named', async () => {
    const checkpoint = await checkpointOf(configOf());
    await expect(
      check({ decoder: { ...decoder, feedForwardWidth: 12, qkNorm: true } }, checkpoint),
    ).rejects.toMatchObject({
      code: 'invalid_argument',
      message: expect.stringMatching(
        /it lacks decoder\/layers\/0\/attention\/queryNorm, decoder\/layers\/0\/attention\/keyNorm; .*gate is \[8, 8\] there and \[8, 12\] in the model; .*up is .*; .*down is /,
      ) as string,
    });
  });

  it('that would leave layers of the checkpoint out', async () => {
    const deep = await checkpointOf(configOf({ decoder: { ...decoder, depth: 2 } }));
    await expect(check({}, deep)).rejects.toThrow(
      /it holds decoder\/layers\/1\/attentionNorm, .*, which the model does not have/,
    );
  });

  it('that begins from nothing', async () => {
    await expect(check({}, directory.path)).rejects.toMatchObject({ code: 'not_found' });
  });
});

it('the encoder of a contrastive run begins that of a language model, and what is not used is said', async () => {
  const run = resolveRunConfig({
    ...tinyRun,
    task: {
      kind: 'contrastive',
      embeddingWidth: 4,
      pooling: 'attentionPool',
      text: { width: 8, depth: 1, heads: 2, feedForwardWidth: 8 },
    } as never,
    model: { sequenceLength: 8, vision },
    data: { directory: 'data', weights: { captioned: 1, interleaved: 0, text: 0 } },
  });
  const checkpoint = checkpointDirectory(join(directory.path, 'clip'), 1);
  const tensors = taskOf(run).parameters.map(({ name, shape, initialValue }) => ({
    name,
    shape,
    data: initialValue(3),
  }));
  const file = await writeShard({ directory: checkpoint, rank: 0, worldSize: 1, tensors });
  await writeManifest(checkpoint, { runId: 'clip', step: 1, nextSequence: 1, config: {}, files: [file] });

  const parts = { vision: checkpoint, connector: null, decoder: null };
  expect(await check({}, parts)).toEqual([
    `of checkpoint ${checkpoint} the run does not use imagePool, text, logScale`,
  ]);
  await expect(check({ vision: { ...vision, width: 16, heads: 4 } }, parts)).rejects.toThrow(
    'vision/patch/kernel is [48, 8] there and [48, 16] in the model',
  );
  await expect(check({}, checkpoint)).rejects.toThrow('it lacks connector/');
});
