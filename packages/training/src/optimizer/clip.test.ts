import { tf } from '@weft/engine';
import { beforeAll, describe, expect, test } from 'vitest';
import { clipScale, globalNorm } from './clip.js';

beforeAll(() => tf.setBackend('cpu'));

const value = (scalar: tf.Tensor) => scalar.dataSync()[0];

describe('clipping by the global norm', () => {
  test('takes all gradients as one vector', () => {
    expect(value(globalNorm([tf.tensor2d([[1, -2]]), tf.scalar(4), tf.tensor1d([2])]))).toBe(5);
    expect(value(globalNorm([tf.tensor1d([3, 4])]))).toBe(5);
  });

  test('leaves small gradients exactly as they are and brings large ones down to the limit', () => {
    expect(value(clipScale(tf.scalar(0), 1))).toBe(1);
    expect(value(clipScale(tf.scalar(0.999), 1))).toBe(1);
    expect(value(clipScale(tf.scalar(1), 1))).toBe(1);
    expect(value(clipScale(tf.scalar(8), 2))).toBe(0.25);
  });

  test('shows a gradient that is not finite', () => {
    expect(value(globalNorm([tf.tensor1d([1, Number.NaN]), tf.scalar(1)]))).toBeNaN();
    expect(value(globalNorm([tf.tensor1d([1, Number.POSITIVE_INFINITY])]))).toBe(Number.POSITIVE_INFINITY);
  });
});
