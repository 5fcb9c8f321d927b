import { tf } from '@weft/tensor';
import { describe, expect, test } from 'vitest';
import { expectGradients } from '../test-support/expect-gradients.js';
import { numbers, randomTensor } from '../test-support/tensors.js';
import { decoderInput } from './decoder-input.js';
import { takeRows } from './take-rows.js';

const rows = (...values: number[]) => tf.tensor1d(values, 'int32');

describe('takeRows', () => {
  test('takes rows by number, and zeros for a negative one', () => {
    const table = tf.tensor2d([
      [1, 2],
      [3, 4],
      [5, 6],
    ]);
    expect(takeRows(table, rows(2, -1, 0, 2)).arraySync()).toEqual([
      [5, 6],
      [0, 0],
      [1, 2],
      [5, 6],
    ]);
  });

  test('sums the gradients of a row taken twice and gives none to a row not taken', () => {
    const gradient = tf.grad((table) =>
      tf.sum(tf.mul(takeRows(table, rows(2, -1, 0, 2)), tf.tensor2d([[1], [10], [100], [1000]]))),
    );
    expect(gradient(tf.zeros([3, 2])).arraySync()).toEqual([
      [100, 100],
      [0, 0],
      [1001, 1001],
    ]);
  });
});

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
    const imageRows = tf.tensor2d(
      [
        [0, 3, 0],
        [1, 2, 0],
      ],
      undefined,
      'int32',
    );
    expect(decoderInput(imageTokens, embedding, tokenIds, imageRows).arraySync()).toEqual([
      [2, 2.5],
      [12, 12],
      [0, 0.5],
      [10, 10],
      [11, 11],
      [2, 2.5],
    ]);
  });

  test('sends the gradient of a position to the row that stands there, and to no other', () => {
    const tokenIds = tf.tensor2d([[2, 1, 0]], undefined, 'int32');
    const imageRows = tf.tensor2d([[0, 3, 0]], undefined, 'int32');
    const input = (images: tf.Tensor, table: tf.Tensor) => decoderInput(images, table, tokenIds, imageRows);
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
