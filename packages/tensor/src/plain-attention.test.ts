import { describe, expect, test } from 'vitest';
import { readablePositions } from './attention.js';
import { tf } from './tf.js';

await tf.setBackend('cpu');

describe('the mask', () => {
  const segmentIds = tf.tensor2d([[1, 1, 2, 2, 0, 0]], undefined, 'int32');

  test('lets a position read itself and earlier ones of its segment, padding apart', () => {
    const { mask_B1TT: mask = tf.scalar(0) } = readablePositions(true, segmentIds);
    const allowed = tf.equal(mask, 0).arraySync();
    expect(allowed).toEqual([
      [
        [
          [1, 0, 0, 0, 0, 0],
          [1, 1, 0, 0, 0, 0],
          [0, 0, 1, 0, 0, 0],
          [0, 0, 1, 1, 0, 0],
          [0, 0, 0, 0, 1, 0],
          [0, 0, 0, 0, 1, 1],
        ],
      ],
    ]);
    expect(new Set(mask.dataSync())).toEqual(new Set([0, -1e9]));
  });

  test('lets a position read the whole of its segment where nothing is causal', () => {
    const { mask_B1TT: mask = tf.scalar(0) } = readablePositions(false, segmentIds);
    expect(tf.equal(tf.gather(tf.reshape(mask, [6, 6]), [0, 3, 5]), 0).arraySync()).toEqual([
      [1, 1, 0, 0, 0, 0],
      [0, 0, 1, 1, 0, 0],
      [0, 0, 0, 0, 1, 1],
    ]);
  });
});
