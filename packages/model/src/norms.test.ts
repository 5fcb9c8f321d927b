import { tf } from '@weft/tensor';
import { describe, expect, test } from 'vitest';
import { expectBlockGradients, expectGradients } from '../test-support/expect-gradients.js';
import { distance, lookup, numbers, randomParameters, randomTensor } from '../test-support/tensors.js';
import { layerNorm, layerNormParameters, rmsNorm } from './norms.js';

const EPSILON = 1e-3;

describe('rmsNorm', () => {
  test('divides every row by its root mean square and scales the channels', () => {
    const rows = [
      [1, -2, 3],
      [0.1, 0, 0.2],
    ];
    const scales = [1, 2, -0.5];
    const expected = rows.flatMap((row) => {
      const rms = Math.sqrt(row.reduce((sum, x) => sum + x * x, 0) / row.length + EPSILON);
      return row.map((x, i) => (x / rms) * (scales[i] ?? 0));
    });
    expect(distance(numbers(rmsNorm(tf.tensor2d(rows), tf.tensor1d(scales), EPSILON)), expected)).toBeLessThan(1e-6);
  });

  test('has the gradient of its definition, on any number of leading dimensions', () => {
    for (const shape of [
      [3, 4],
      [2, 3, 2, 4],
    ]) {
      expectGradients((x, scale) => rmsNorm(x as tf.Tensor, scale as tf.Tensor, EPSILON), {
        x: randomTensor('x', shape),
        scale: randomTensor('scale', [4]),
      });
    }
  });
});

describe('layerNorm', () => {
  test('takes mean and variance out of every row', () => {
    const rows = [
      [1, -2, 3, 4],
      [0.1, 0, 0.2, 9],
    ];
    const parameters = randomParameters(layerNormParameters(4));
    const scale = numbers(parameters.get('gain') as tf.Tensor);
    const bias = numbers(parameters.get('bias') as tf.Tensor);
    const expected = rows.flatMap((row) => {
      const mean = row.reduce((sum, x) => sum + x, 0) / 4;
      const variance = row.reduce((sum, x) => sum + (x - mean) ** 2, 0) / 4;
      return row.map((x, i) => ((x - mean) / Math.sqrt(variance + EPSILON)) * (scale[i] ?? 0) + (bias[i] ?? 0));
    });
    expect(distance(numbers(layerNorm(tf.tensor2d(rows), lookup(parameters), EPSILON)), expected)).toBeLessThan(1e-5);
  });

  test('has the gradient of its definition, on any number of leading dimensions', () => {
    for (const shape of [
      [3, 4],
      [2, 3, 2, 4],
    ]) {
      expectBlockGradients((x, p) => layerNorm(x, p, EPSILON), randomTensor('x', shape), layerNormParameters(4));
    }
  });

  test('stays finite on a constant row, such as an unused image', () => {
    const normal = layerNorm(tf.zeros([2, 4]), lookup(randomParameters(layerNormParameters(4))), EPSILON);
    expect(numbers(normal).every(Number.isFinite)).toBe(true);
  });
});
