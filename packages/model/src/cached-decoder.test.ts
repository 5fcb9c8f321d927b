// Legend: B rows, L positions, T positions of the cache, D width.
import type { ModelConfig } from '@weft/config';
import { attention, readablePositions, tf } from '@weft/tensor';
import { expect, test } from 'vitest';
import { distance, numbers, randomTensor } from '../test-support/tensors.js';
import { tinyModel, tinyMoeModel, tinyParameters, withMoe } from '../test-support/tiny-model.js';
import { cachedDecoderBlocks, cacheSpec, type KeysAndValues, type KeyValueCache } from './cached-decoder.js';
import { decoderBlocks } from './decoder.js';
import { localExperts } from './moe/experts.js';
import { MoeLayers } from './moe/moe-layers.js';
import { scope } from './parameters.js';

function emptyCache({ decoder }: ModelConfig, slots: number, length: number): KeyValueCache {
  const layers = new Map<number, KeysAndValues>();
  const zeros = tf.zeros([...cacheSpec(decoder, slots, length).shape]);
  return {
    read: (layer) => layers.get(layer) ?? { keys_NJTC: zeros, values_NJTC: zeros },
    write: (layer, next) => void layers.set(layer, next),
  };
}

/** The blocks on whole sequences, all of them one segment. */
function withoutCache(model: ModelConfig, x_BTD: tf.Tensor): tf.Tensor {
  const [batch = 0, length = 0, width = 0] = x_BTD.shape;
  const parameter = tinyParameters(model);
  const ones_BT = tf.ones([batch, length], 'int32');
  const readable = readablePositions(true, ones_BT);
  const moe =
    model.decoder.moe === null
      ? undefined
      : new MoeLayers(
          withMoe(model, { capacityFactor: 'dropless', groupSize: 0, jitter: 0 }),
          { tokenIds_BT: ones_BT, segmentIds_BT: ones_BT, lossMask_BT: tf.zeros([batch, length]) },
          localExperts(model, parameter),
        );
  const positions_BT = tf.tile(tf.range(0, length, 1, 'int32').expandDims(0), [batch, 1]);
  const x_RD = tf.reshape(x_BTD, [batch * length, width]);
  const attend = (_: number, q: tf.Tensor, k: tf.Tensor, v: tf.Tensor) => attention(q, k, v, readable);
  return decoderBlocks(x_RD, scope(parameter, 'decoder'), model.decoder, positions_BT, attend, moe).reshape(
    x_BTD.shape,
  );
}

const manyHeads = { ...tinyModel, decoder: { ...tinyModel.decoder, heads: 4, keyValueHeads: 4, qkNorm: false } };
const grouped = { ...tinyModel, decoder: { ...tinyModel.decoder, heads: 4, keyValueHeads: 2 } };
const models: readonly (readonly [string, ModelConfig])[] = [
  ['a key-value head for all queries', tinyModel],
  ['a key-value head for every query', manyHeads],
  ['grouped queries', grouped],
  ['experts that drop tokens in training', withMoe(tinyMoeModel, { capacityFactor: 0.5, jitter: 0.3 })],
];

test.each(models)('%s: chunks of any lengths give what whole sequences give', (_, model) => {
  const [length, cacheLength] = [9, 12];
  const { width } = model.decoder;
  const x_BTD = randomTensor('x', [1, length, width]);
  const expected_BTD = withoutCache(model, x_BTD);
  for (const [chunks, padding] of [
    [[9], 0],
    [[4, 5], 0],
    [[1, 1, 1, 1, 1, 1, 1, 1, 1], 0],
    // Padding reaches beyond the end of the cache, too.
    [[3, 1, 5], 4],
  ] as const) {
    const cache = emptyCache(model, 3, cacheLength);
    let start = 0;
    for (const count of chunks) {
      const padded = count + padding;
      const x_LD = tf.concat([
        x_BTD.slice([0, start, 0], [1, count, width]).reshape([count, width]),
        randomTensor('padding', [padding, width]),
      ]);
      const isToken_BL = tf.tensor2d([Array.from({ length: padded }, (_, i) => (i < count ? 1 : 0))]);
      const positions = { starts_B: tf.tensor1d([start]), isToken_BL, slots_B: tf.tensor1d([1], 'int32') };
      const y_LD = cachedDecoderBlocks(x_LD, tinyParameters(model), model, positions, cache);
      const expected = expected_BTD.slice([0, start, 0], [1, count, width]);
      expect(distance(numbers(y_LD.slice([0, 0], [count, width])), numbers(expected))).toBeLessThan(1e-5);
      start += count;
    }
  }
});

test.each(models)('%s: rows of other lengths do not mix', (_, model) => {
  const { width } = model.decoder;
  const x_BTD = randomTensor('rows', [3, 10, width]);
  const expected_BTD = withoutCache(model, x_BTD);
  const cache = emptyCache(model, 3, 12);
  const lengths = [0, 0, 0];
  const at = (row: number, first: number, count: number) => x_BTD.slice([row, first, 0], [1, count, width]);
  // First chunks of 5, 3 and 1 positions, then one position of each row at a time.
  for (const counts of [
    [5, 3, 1],
    [1, 1, 1],
    [1, 1, 1],
    [1, 1, 1],
  ]) {
    const chunk = Math.max(...counts);
    const x_BLD = tf.concat(
      counts.map((count, row) =>
        tf.pad(at(row, lengths[row]!, count) as tf.Tensor3D, [
          [0, 0],
          [0, chunk - count],
          [0, 0],
        ]),
      ),
    );
    const isToken = counts.map((count) => Array.from({ length: chunk }, (_, i) => (i < count ? 1 : 0)));
    const positions = { starts_B: tf.tensor1d(lengths), isToken_BL: tf.tensor2d(isToken) };
    const y = cachedDecoderBlocks(x_BLD.reshape([3 * chunk, width]), tinyParameters(model), model, positions, cache);
    for (const [row, count] of counts.entries()) {
      const given = y.reshape([3, chunk, width]).slice([row, 0, 0], [1, count, width]);
      const expected = expected_BTD.slice([row, lengths[row]!, 0], [1, count, width]);
      expect(distance(numbers(given), numbers(expected))).toBeLessThan(1e-5);
      lengths[row]! += count;
    }
  }
});
