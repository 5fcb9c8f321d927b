import { tf } from '@weft/tensor';
import { describe, expect, test } from 'vitest';
import { expectGradients } from '../test-support/expect-gradients.js';
import { distance, numbers, randomTensor } from '../test-support/tensors.js';
import { attention, splitHeads } from './attention.js';
import { causalSegmentMask } from './causal-mask.js';

const [BATCH, LENGTH, HEADS, KEY_VALUE_HEADS, WIDTH] = [2, 3, 4, 2, 5];
const q = randomTensor('q', [BATCH, LENGTH, HEADS, WIDTH]);
const k = randomTensor('k', [BATCH, LENGTH, KEY_VALUE_HEADS, WIDTH]);
const v = randomTensor('v', [BATCH, LENGTH, KEY_VALUE_HEADS, WIDTH]);

/** The definition, one number at a time. */
function reference(mask?: tf.Tensor): number[] {
  const [qs, ks, vs, masks] = [q, k, v, mask].map((tensor) => tensor && numbers(tensor));
  const query = (b: number, t: number, h: number, c: number) => qs?.[((b * LENGTH + t) * HEADS + h) * WIDTH + c] ?? 0;
  const shared = (values: number[] | undefined, b: number, t: number, h: number, c: number) =>
    values?.[((b * LENGTH + t) * KEY_VALUE_HEADS + Math.floor(h / 2)) * WIDTH + c] ?? 0;
  const range = (n: number) => Array.from({ length: n }, (_, i) => i);
  return range(BATCH).flatMap((b) =>
    range(LENGTH).flatMap((t) =>
      range(HEADS).flatMap((h) => {
        const scores = range(LENGTH).map((s) => {
          const dot = range(WIDTH).reduce((sum, c) => sum + query(b, t, h, c) * shared(ks, b, s, h, c), 0);
          return dot / Math.sqrt(WIDTH) + (masks?.[(b * LENGTH + t) * LENGTH + s] ?? 0);
        });
        const total = scores.reduce((sum, score) => sum + Math.exp(score), 0);
        return range(WIDTH).map((c) =>
          scores.reduce((sum, score, s) => sum + (Math.exp(score) / total) * shared(vs, b, s, h, c), 0),
        );
      }),
    ),
  );
}

describe('attention', () => {
  test('is the definition, query head h reading key-value head ⌊h/G⌋', () => {
    const read = attention(q, k, v);
    expect(read.shape).toEqual([BATCH * LENGTH, HEADS * WIDTH]);
    expect(distance(numbers(read), reference())).toBeLessThan(1e-5);
  });

  test('adds the mask to the scores of every head', () => {
    const mask = causalSegmentMask(
      tf.tensor2d(
        [
          [1, 1, 2],
          [1, 1, 1],
        ],
        undefined,
        'int32',
      ),
    );
    expect(distance(numbers(attention(q, k, v, mask)), reference(mask))).toBeLessThan(1e-5);
  });

  test('has the gradient of its definition', () => {
    const mask = causalSegmentMask(
      tf.tensor2d(
        [
          [1, 1, 2],
          [1, 1, 1],
        ],
        undefined,
        'int32',
      ),
    );
    expectGradients((a, b, c) => attention(a as tf.Tensor, b as tf.Tensor, c as tf.Tensor, mask), { q, k, v });
  });

  test('splitHeads keeps the channels of one head together', () => {
    const rows = tf.tensor2d([
      [0, 1, 2, 3],
      [4, 5, 6, 7],
    ]);
    expect(splitHeads(rows, 1, 2).arraySync()).toEqual([
      [
        [
          [0, 1],
          [2, 3],
        ],
        [
          [4, 5],
          [6, 7],
        ],
      ],
    ]);
  });
});

describe('the causal mask', () => {
  test('lets a position read itself and what stands before it in its piece, padding apart', () => {
    const mask = causalSegmentMask(tf.tensor2d([[1, 1, 2, 2, 0, 0]], undefined, 'int32'));
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
    expect(new Set(numbers(mask))).toEqual(new Set([0, -1e9]));
  });
});
