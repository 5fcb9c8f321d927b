import { attention, readablePositions, tf } from '@weft/tensor';
import { describe, expect, test } from 'vitest';
import { expectGradients } from '../test-support/expect-gradients.js';
import { distance, numbers, randomTensor } from '../test-support/tensors.js';
import { joinHeads, rotaryTables, rotate, splitHeads } from './attention.js';

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
    const read = joinHeads(attention(q, k, v));
    expect(read.shape).toEqual([BATCH * LENGTH, HEADS * WIDTH]);
    expect(distance(numbers(read), reference())).toBeLessThan(1e-5);
  });

  test('adds the mask to the scores of every head', () => {
    const readable = readablePositions(
      true,
      tf.tensor2d(
        [
          [1, 1, 2],
          [1, 1, 1],
        ],
        undefined,
        'int32',
      ),
    );
    expect(distance(numbers(attention(q, k, v, readable)), reference(readable.mask_B1TT))).toBeLessThan(1e-5);
  });

  test('has the gradient of its definition', () => {
    const readable = readablePositions(
      true,
      tf.tensor2d(
        [
          [1, 1, 2],
          [1, 1, 1],
        ],
        undefined,
        'int32',
      ),
    );
    expectGradients((a, b, c) => attention(a as tf.Tensor, b as tf.Tensor, c as tf.Tensor, readable), { q, k, v });
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

const HEAD_WIDTH = 6;
const at = (...positions: number[]) => rotaryTables(tf.tensor2d([positions], undefined, 'int32'), HEAD_WIDTH, 50);

describe('rotary positions', () => {
  test('leave position 0 as it is and no vector longer or shorter', () => {
    const x = randomTensor('x', [1, 2, 3, HEAD_WIDTH]);
    expect(distance(numbers(rotate(x, at(0, 0))), numbers(x))).toBeLessThan(1e-6);
    expect(distance(numbers(tf.norm(rotate(x, at(5, 71)), 2, -1)), numbers(tf.norm(x, 2, -1)))).toBeLessThan(1e-5);
  });

  test('rotate channel pair f by position · theta^(−f/F)', () => {
    const turned = numbers(rotate(tf.tensor4d([1, 1, 1, 0, 0, 0], [1, 1, 1, HEAD_WIDTH]), at(3)));
    const angles = [0, 1, 2].map((f) => 3 * 50 ** (-f / 3));
    expect(distance(turned, [...angles.map(Math.cos), ...angles.map(Math.sin)])).toBeLessThan(1e-6);
  });

  test('make the score of a query and a key depend on their distance alone', () => {
    const query = randomTensor('query', [1, 1, 1, HEAD_WIDTH]);
    const key = randomTensor('key', [1, 1, 1, HEAD_WIDTH]);
    const score = (q: number, k: number) =>
      numbers(tf.sum(tf.mul(rotate(query, at(q)), rotate(key, at(k)))))[0] ?? Number.NaN;
    expect(score(9, 4)).toBeCloseTo(score(5, 0), 5);
    expect(score(1005, 1000)).toBeCloseTo(score(5, 0), 4);
    expect(Math.abs(score(9, 4) - score(9, 5))).toBeGreaterThan(1e-3);
  });

  test('read the positions they are given, not those in the row', () => {
    const x = randomTensor('x', [1, 1, 1, HEAD_WIDTH]);
    const twice = rotate(tf.concat([x, x], 1), at(7, 7));
    const [first, second] = tf.split(twice, 2, 1).map(numbers);
    expect(second).toEqual(first);
  });

  test('slow low frequencies down as Llama 3.1 does, and leave high ones as they are', () => {
    const scaling = { factor: 8, lowFrequencyFactor: 1, highFrequencyFactor: 4, originalLength: 64 };
    const one = tf.tensor2d([[1]], undefined, 'int32');
    const { cos_BT1C } = rotaryTables(one, 8, 10_000, scaling);
    const frequencies = [1, 0.1, 0.01, 0.001];
    const waves = frequencies.map((f) => (64 * f) / (2 * Math.PI));
    // 10.2 waves stay; 1.02 lie between 1 and 4; 0.1 and less turn 8 times more slowly.
    const between = ((waves[1] ?? 0) - 1) / 3;
    const expected = [1, between * 0.1 + (1 - between) * (0.1 / 8), 0.01 / 8, 0.001 / 8].map(Math.cos);
    expect(distance(numbers(cos_BT1C).slice(0, 4), expected)).toBeLessThan(1e-7);
  });

  test('have the gradient of their definition', () => {
    expectGradients((x) => rotate(x as tf.Tensor, at(0, 2, 5)), { x: randomTensor('x', [1, 3, 2, HEAD_WIDTH]) });
  });
});
