import { tf } from '@weft/tensor';
import { describe, expect, test } from 'vitest';
import { expectGradients } from '../test-support/expect-gradients.js';
import { distance, numbers, randomTensor } from '../test-support/tensors.js';
import { rotaryTables, rotate } from './rope.js';

const HEAD_WIDTH = 6;
const at = (...positions: number[]) => rotaryTables(tf.tensor2d([positions], undefined, 'int32'), HEAD_WIDTH, 50);

describe('rotary positions', () => {
  test('leave position 0 as it is and no vector longer or shorter', () => {
    const x = randomTensor('x', [1, 2, 3, HEAD_WIDTH]);
    expect(distance(numbers(rotate(x, at(0, 0))), numbers(x))).toBeLessThan(1e-6);
    expect(distance(numbers(tf.norm(rotate(x, at(5, 71)), 2, -1)), numbers(tf.norm(x, 2, -1)))).toBeLessThan(1e-5);
  });

  test('turn channel pair f by position · theta^(−f/F)', () => {
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

  test('read the positions they are given, not the places in the row', () => {
    const x = randomTensor('x', [1, 1, 1, HEAD_WIDTH]);
    const twice = rotate(tf.concat([x, x], 1), at(7, 7));
    const [first, second] = tf.split(twice, 2, 1).map(numbers);
    expect(second).toEqual(first);
  });

  test('have the gradient of their definition', () => {
    expectGradients((x) => rotate(x as tf.Tensor, at(0, 2, 5)), { x: randomTensor('x', [1, 3, 2, HEAD_WIDTH]) });
  });
});
