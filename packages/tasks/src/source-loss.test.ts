import { tf } from '@weft/tensor';
import { expect, it } from 'vitest';
import { SourceLoss } from './source-loss.js';

const losses = new SourceLoss(['captioned', 'text', 'unused']);

it('is the mean of each source over its text tokens, over all microbatches and ranks, whatever the padding', () => {
  const { sources_B } = losses.arrays(['text', 'captioned', 'text'], 4);
  expect([...sources_B]).toEqual([1, 0, 1, 0]);
  const sums = tf.tidy(() => {
    const lossMask_BT = tf.tensor2d([
      [1, 1],
      [1, 0],
      [0, 1],
      [0, 0],
    ]);
    const loss_R = tf.tensor1d([1, 2, 5, 0, 0, 6, 0, 0]);
    return [...losses.sums(tf.tensor1d([...sources_B], 'int32'), loss_R, lossMask_BT).dataSync()];
  });
  expect(sums).toEqual([5, 9, 0, 1, 3, 0]);
  expect(losses.read(sums)).toEqual({ captioned: 5, text: 3 });
  expect(losses.read(sums.map((each) => 2 * each))).toEqual({ captioned: 5, text: 3 });
});
