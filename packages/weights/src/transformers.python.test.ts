import { spawnSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  checkpointDirectory,
  readManifest,
  readTensors,
  type StreamedTensor,
  shardName,
  WeightsFile,
  writeManifest,
  writeWeightsFile,
} from '@weft/checkpoint';
import type { ImagePreprocessing, ModelConfig } from '@weft/config';
import { imagePixels } from '@weft/data';
import { makeDirectory } from '@weft/files';
import { connectorParameters, decoder, decoderInput, imageTokens, scope, visionEncoder } from '@weft/model';
import { tf } from '@weft/tensor';
import { type TemporaryDirectory, temporaryDirectory } from '@weft/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { exportWeights } from './export-weights.js';
import { type ImportedWeights, importWeights } from './import-weights.js';

const SCRIPT = fileURLToPath(new URL('../test-support/reference.py', import.meta.url));
const PYTHON = process.env.WEFT_PEERS_PYTHON ?? process.env.PYTHON ?? 'python3';
const hasTransformers = spawnSync(PYTHON, ['-c', 'import torch, transformers, safetensors']).status === 0;
if (!hasTransformers)
  console.log(`skipped: ${PYTHON} lacks torch or transformers (set WEFT_PEERS_PYTHON to one that has)`);

const DECODERS = ['llama', 'llama3', 'mistral', 'qwen2', 'qwen2-bf16', 'qwen3'] as const;
const ENCODERS = ['vit-l', 'vit-h'] as const;
const CLOSE = 1e-4;

function python(...words: string[]): string {
  const { status, stdout, stderr } = spawnSync(PYTHON, [SCRIPT, ...words], { encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
  return stdout;
}

/** All tensors of a safetensors file. */
async function tensorsOf(path: string): Promise<Map<string, tf.Tensor>> {
  const file = await WeightsFile.open(path);
  const tensors = new Map<string, tf.Tensor>();
  for (const entry of file.tensors) {
    const length = entry.shape.reduce((product, size) => product * size, 1);
    const values: number[] = [];
    for await (const piece of file.read(entry, 0, length)) values.push(...piece);
    tensors.set(entry.name, tf.tensor(values, [...entry.shape]));
  }
  await file.close();
  return tensors;
}

/** All tensors of a checkpoint. */
async function tensorsIn(checkpoint: string): Promise<Map<string, tf.Tensor>> {
  const tensors = new Map<string, tf.Tensor>();
  for await (const { name, shape, data } of readTensors(checkpoint, await readManifest(checkpoint)))
    tensors.set(name, tf.tensor(data, [...shape]));
  return tensors;
}

function streamOf(name: string, tensor: tf.Tensor): StreamedTensor {
  return { name, shape: tensor.shape, values: () => [Float32Array.from(tensor.dataSync())] };
}

async function parametersOf(checkpoint: string, part: string): Promise<(name: string) => tf.Tensor> {
  const tensors = await tensorsIn(checkpoint);
  return (name) => tensors.get(`${part}/${name}`) ?? expect.fail(`${part}/${name} was not imported`);
}

/** The largest difference over the largest value. */
function apart(actual: tf.Tensor, expected: tf.Tensor | undefined): number {
  if (expected === undefined) return Number.NaN;
  const difference = tf.max(tf.abs(tf.sub(tf.reshape(actual, [-1]), tf.reshape(expected, [-1]))));
  return tf.div(difference, tf.max(tf.abs(expected))).dataSync()[0] ?? Number.NaN;
}

describe.skipIf(!hasTransformers)('models of transformers', () => {
  let directory: TemporaryDirectory;
  const imported = new Map<string, ImportedWeights>();
  const at = (...names: string[]) => join(directory.path, ...names);

  beforeAll(async () => {
    await tf.setBackend('cpu');
    directory = await temporaryDirectory();
    python('make', at('theirs'));
    for (const name of [...DECODERS, ...ENCODERS])
      imported.set(name, await importWeights({ from: at('theirs', name), to: at('ours', name) }));
  });
  afterAll(() => directory.remove());

  const modelOf = (name: string) => imported.get(name)?.settings.model as ModelConfig;
  const checkpointOf = (name: string) => imported.get(name)?.checkpoint ?? '';
  const expectedOf = (name: string) => tensorsOf(at('theirs', name, 'expected', 'expected.safetensors'));

  it.each(DECODERS)('%s gives the logits of Python, to 1e-4', async (name) => {
    const theirs = await expectedOf(name);
    const p = await parametersOf(checkpointOf(name), 'decoder');
    const tokens = tf.cast(theirs.get('tokens') ?? expect.fail(), 'int32');
    const [batch = 0, length = 0] = tokens.shape;
    const x = tf.reshape(tf.gather(p('embedding') as tf.Tensor2D, tf.reshape(tokens, [-1])), [batch * length, -1]);
    const positions = tf.tile(tf.range(0, length, 1, 'int32').expandDims(0), [batch, 1]);
    const logits = decoder(x, p, modelOf(name).decoder, tf.ones([batch, length], 'int32'), positions);
    expect(apart(logits, theirs.get('logits'))).toBeLessThan(CLOSE);
  });

  it.each(ENCODERS)(
    '%s gives the hidden states of Python, to 1e-4, of the last block and of the one before',
    async (name) => {
      const theirs = await expectedOf(name);
      const images = theirs.get('images') ?? expect.fail();
      const p = await parametersOf(checkpointOf(name), 'vision');
      const { vision } = modelOf(name);
      expect(apart(visionEncoder(images, p, vision), theirs.get('features'))).toBeLessThan(CLOSE);
      const early = {
        from: at('theirs', name),
        to: at('early', name),
        featureLayer: vision.depth - 1,
        outputNorm: false,
      };
      const { checkpoint, settings } = await importWeights(early);
      const before = visionEncoder(
        images,
        await parametersOf(checkpoint, 'vision'),
        (settings.model as ModelConfig).vision,
      );
      expect(apart(before, theirs.get('penultimate'))).toBeLessThan(CLOSE);
    },
  );

  it('are read by Python again after an export, and give the same', async () => {
    const pairs: string[] = [];
    for (const name of [...DECODERS, ...ENCODERS]) {
      const part = ENCODERS.some((each) => each === name) ? 'vision' : 'decoder';
      const fileBytes = name === 'llama' ? 20_000 : undefined;
      await exportWeights({ checkpoint: checkpointOf(name), to: at('exported', name), part, fileBytes });
      pairs.push(at('theirs', name), at('exported', name));
    }
    const results = JSON.parse(python('check', ...pairs)) as Record<
      string,
      { apart: number; missing: string[]; unexpected: string[] }
    >;
    for (const [folder, { apart, missing, unexpected }] of Object.entries(results)) {
      expect(apart, folder).toBeLessThan(1e-6);
      expect([missing, unexpected], folder).toEqual([[], []]);
    }
    expect(Object.keys(results)).toHaveLength(pairs.length / 2);
  });

  it('give, put together with a connector and exported as a whole, the logits that Python gets of the parts', async () => {
    const model: ModelConfig = {
      sequenceLength: 24,
      vision: modelOf('vit-l').vision,
      connector: { kind: 'averagePool', tokensPerImage: 9, hiddenWidth: 1, depth: 1 },
      decoder: modelOf('llama').decoder,
    };
    const parts = [await tensorsIn(checkpointOf('vit-l')), await tensorsIn(checkpointOf('llama'))];
    const connector = connectorParameters(model).map(
      ({ name, shape }) => [`connector/${name}`, tf.randomNormal([...shape], 0, 0.1, 'float32', 7)] as const,
    );
    const tensors = new Map([...parts.flatMap((part) => [...part]), ...connector]);
    const parameter = (name: string) => tensors.get(name) ?? expect.fail(`there is no ${name}`);
    const streams = [...tensors].map(([name, tensor]) => streamOf(name, tensor));
    const checkpoint = checkpointDirectory(at('whole'), 1);
    await makeDirectory(checkpoint);
    const file = await writeWeightsFile(join(checkpoint, shardName(0, 1)), streams);
    const config = { model, data: { tokenizer: 'bytes' } };
    await writeManifest(checkpoint, { runId: 'r', step: 1, nextSequence: 0, config, files: [file] });
    await exportWeights({ checkpoint, to: at('exported', 'whole'), part: 'all' });

    const images = (await expectedOf('vit-l')).get('images') ?? expect.fail();
    const tokens = tf.cast((await expectedOf('llama')).get('tokens') ?? expect.fail(), 'int32');
    // The first sequence begins with the first image, the second one has the other after three tokens.
    const index = tf.tensor2d(
      [0, 1].flatMap((row) =>
        Array.from({ length: 24 }, (_, t) => (t >= 3 * row && t < 3 * row + 9 ? 9 * row + t - 3 * row + 1 : 0)),
      ),
      [2, 24],
      'int32',
    );
    const x = decoderInput(imageTokens(model, parameter, images), parameter('decoder/embedding'), tokens, index);
    const positions = tf.tile(tf.range(0, 24, 1, 'int32').expandDims(0), [2, 1]);
    const logits = decoder(x, scope(parameter, 'decoder'), model.decoder, tf.ones([2, 24], 'int32'), positions);
    const given = { images, tokens, image_token_index: index, logits: tf.reshape(logits, [2, 24, -1]) };
    const streamsOfGiven = Object.entries(given).map(([name, tensor]) => streamOf(name, tensor));
    await writeWeightsFile(at('given.safetensors'), streamsOfGiven);
    expect(Number(python('whole', at('exported', 'whole'), at('given.safetensors')))).toBeLessThan(CLOSE);
  });

  it('get pictures as the processor of Python makes them, to 2/255', async () => {
    const { images } = (imported.get('vit-l')?.settings.data ?? {}) as { images: ImagePreprocessing };
    const theirs = (await tensorsOf(at('theirs', 'vit-l', 'expected', 'pixels.safetensors'))).get('pixels');
    const ours = await imagePixels(await readFile(at('theirs', 'vit-l', 'picture.png')), 'picture', 56, images);
    const expected = theirs?.dataSync() ?? [];
    expect(ours).toHaveLength(expected.length);
    const channels = [images.deviation.red, images.deviation.green, images.deviation.blue];
    const worst = ours.reduce((most, value, i) => {
      return Math.max(most, Math.abs(value - (expected[i] ?? Number.NaN)) * (channels[i % 3] ?? Number.NaN));
    }, 0);
    expect(worst).toBeLessThan(2 / 255);
  });
});
