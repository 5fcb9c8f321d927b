import { tf } from '@weft/tensor';
import { describe, expect, test } from 'vitest';
import { expectGradients } from '../test-support/expect-gradients.js';
import { numbers, randomTensor } from '../test-support/tensors.js';
import { decoderInput } from './decoder.js';

describe('the decoder input', () => {
  const imageTokens = tf.tensor2d([
    [10, 10],
    [11, 11],
    [12, 12],
  ]);
  const embedding = tf.tensor2d([
    [0, 0.5],
    [1, 1.5],
    [2, 2.5],
  ]);

  test('holds at every position the named image token or else the text token', () => {
    const tokenIds = tf.tensor2d(
      [
        [2, 1, 0],
        [1, 2, 2],
      ],
      undefined,
      'int32',
    );
    const imageTokenIndex = tf.tensor2d(
      [
        [0, 3, 0],
        [1, 2, 0],
      ],
      undefined,
      'int32',
    );
    expect(decoderInput(imageTokens, embedding, tokenIds, imageTokenIndex).arraySync()).toEqual([
      [2, 2.5],
      [12, 12],
      [0, 0.5],
      [10, 10],
      [11, 11],
      [2, 2.5],
    ]);
  });

  test('sends the gradient of a position to the row that is there, and to no other', () => {
    const tokenIds = tf.tensor2d([[2, 1, 0]], undefined, 'int32');
    const imageTokenIndex = tf.tensor2d([[0, 3, 0]], undefined, 'int32');
    const input = (images: tf.Tensor, table: tf.Tensor) => decoderInput(images, table, tokenIds, imageTokenIndex);
    expectGradients((images, table) => input(images as tf.Tensor, table as tf.Tensor), { imageTokens, embedding });
    const [dImages, dTable] = tf.grads((images, table) => tf.sum(input(images, table)))([imageTokens, embedding]);
    expect(numbers(dImages as tf.Tensor)).toEqual([0, 0, 0, 0, 1, 1]);
    expect(numbers(dTable as tf.Tensor)).toEqual([1, 1, 0, 0, 1, 1]);
  });

  test('takes an embedding as large as the numbers of its rows', () => {
    const table = randomTensor('table', [300, 2]);
    const taken = decoderInput(
      imageTokens,
      table,
      tf.tensor2d([[299]], undefined, 'int32'),
      tf.tensor2d([[0]], undefined, 'int32'),
    );
    expect(numbers(taken)).toEqual(numbers(table).slice(-2));
  });
});
