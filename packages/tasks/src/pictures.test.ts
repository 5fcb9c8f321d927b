import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { resolveRunConfig } from '@weft/config';
import { indexDataset } from '@weft/data';
import { decoderInput, imageTokens, modelParameters } from '@weft/model';
import { elementCount, tf } from '@weft/tensor';
import { pngPicture, temporaryDirectory, tinyRun } from '@weft/testing';
import { expect, test } from 'vitest';
import { taskOf } from './task-of.js';

const TOKENS = 5 * 144;

test('a picture cut in an overview and four parts arrives in the decoder as 5 × 144 tokens, and only answers have a loss', async () => {
  await using folder = await temporaryDirectory();
  await mkdir(join(folder.path, 'chats'));
  const picture = pngPicture(48, 48, (x, y) => (x < 20 && y < 30 ? [255, 0, 0] : [255, 255, 255]));
  await writeFile(join(folder.path, 'chats/a.png'), picture);
  const turns = [
    { from: 'human', value: '<image>\nWhat is it?' },
    { from: 'gpt', value: 'Noise.' },
  ];
  await writeFile(join(folder.path, 'chats/a.jsonl'), JSON.stringify({ image: 'a.png', conversations: turns }));
  const config = resolveRunConfig({
    ...tinyRun,
    ...{ globalBatchSize: 1, microbatchSize: 1, workers: 1 },
    model: {
      ...tinyRun.model,
      sequenceLength: 800,
      vision: { ...tinyRun.model.vision, imageSize: 24, patchSize: 2 },
      connector: { kind: 'averagePool', tokensPerImage: 144 },
    },
    data: {
      ...{ directory: folder.path, sources: { chats: 'conversations' }, weights: { chats: 1 } },
      ...{ imagesPerSequence: 5, images: { subImages: { rows: 2, columns: 2 } } },
    },
  });
  await indexDataset(config);
  const data = await taskOf(config).openData();
  const loader = data.openLoader();
  const [batch] = (await loader.load(1, 0, 1)).microbatches;
  await loader.close();
  await data.close();

  const rows = [...(batch?.imageTokenIndex_BT ?? [])];
  const first = 'USER: '.length;
  expect(rows.filter((row) => row > 0)).toEqual(Array.from({ length: TOKENS }, (_, i) => i + 1));
  expect(rows.slice(first, first + TOKENS).every((row) => row > 0)).toBe(true);
  // "Noise." and its end.
  const counted = [...(batch?.lossMask_BT ?? [])].flatMap((counts, at) => (counts === 0 ? [] : [at]));
  expect(counted).toHaveLength(7);
  expect(Math.min(...counted)).toBeGreaterThan(first + TOKENS);

  await tf.setBackend('cpu');
  const specs = new Map(modelParameters(config.model).map(({ name, shape }) => [name, [...shape]]));
  const parameter = (name: string) => {
    const shape = specs.get(name) ?? [];
    return tf.tensor(
      Array.from({ length: elementCount(shape) }, (_, i) => Math.sin(i + name.length)),
      shape,
    );
  };
  const { imageSize } = config.model.vision;
  const images = tf.tensor4d(batch?.images_NHWC as Float32Array, [5, imageSize, imageSize, 3]);
  const tokens = imageTokens(config.model, parameter, images);
  const ints = (values: ArrayLike<number> | undefined) => tf.tensor2d(Int32Array.from(values ?? []), [1, 800], 'int32');
  const read = decoderInput(tokens, parameter('decoder/embedding'), ints(batch?.tokenIds_BT), ints(rows));
  const { width } = config.model.decoder;
  expect(tokens.shape).toEqual([TOKENS, width]);
  expect([...read.slice([first, 0], [TOKENS, width]).dataSync()]).toEqual([...tokens.dataSync()]);
});
