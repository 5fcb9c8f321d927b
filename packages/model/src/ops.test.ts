import { WeftError } from '@weft/common';
import { tf } from '@weft/tensor';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { expectBlockGradients, expectGradients } from '../test-support/expect-gradients.js';
import { distance, numbers, randomTensor } from '../test-support/tensors.js';
import { gelu, poolGrid, silu, sizes, swiglu, swigluParameters, takeRows } from './ops.js';

test('sizes gives as many dimensions as it is asked for, or says what it was given', () => {
  expect(sizes(randomTensor('x', [2, 3]), 2)).toEqual([2, 3]);
  expect(() => sizes(randomTensor('x', [2, 3]), 3)).toThrow(
    new WeftError('internal', 'a tensor of rank 3 was expected, not one of shape [2, 3]'),
  );
});

describe('gelu', () => {
  /** Φ as an integral of the bell curve, by Simpson's rule in double precision. */
  const phi = (x: number) => {
    const steps = 2000;
    const bell = (z: number) => Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI);
    const sum = Array.from({ length: steps + 1 }, (_, i) => {
      const weight = i === 0 || i === steps ? 1 : i % 2 === 0 ? 2 : 4;
      return weight * bell((x * i) / steps);
    }).reduce((a, b) => a + b, 0);
    return 0.5 + (x / steps / 3) * sum;
  };

  test('is x·Φ(x), to the last digits of float32', () => {
    const xs = Array.from({ length: 161 }, (_, i) => (i - 80) / 10);
    const expected = xs.map((x) => x * phi(x));
    expect(distance(numbers(gelu(tf.tensor1d(xs))), expected)).toBeLessThan(6e-7);
  });

  test('has the gradient of its definition, on both sides of 0', () => {
    expectGradients((x) => gelu(x as tf.Tensor), { x: tf.mul(randomTensor('x', [40]), 2) });
    expect(numbers(tf.grad((x) => gelu(x))(tf.tensor1d([-30, 0, 30])))[1]).toBeCloseTo(0.5, 6);
  });
});

/** Adaptive average pooling, one cell at a time. */
function reference(values: number[], gridSide: number, side: number, channels: number): number[] {
  const pooled: number[] = [];
  const first = (i: number) => Math.floor((i * gridSide) / side);
  const end = (i: number) => Math.ceil(((i + 1) * gridSide) / side);
  for (let cellRow = 0; cellRow < side; cellRow++)
    for (let cellColumn = 0; cellColumn < side; cellColumn++)
      for (let channel = 0; channel < channels; channel++) {
        let sum = 0;
        let count = 0;
        for (let row = first(cellRow); row < end(cellRow); row++)
          for (let column = first(cellColumn); column < end(cellColumn); column++) {
            sum += values[(row * gridSide + column) * channels + channel] ?? Number.NaN;
            count += 1;
          }
        pooled.push(sum / count);
      }
  return pooled;
}

function expectReference(gridSide: number, side: number): void {
  const grid = randomTensor(`${gridSide}`, [2, gridSide ** 2, 2]);
  const [one, two] = [0, 1].map((n) => numbers(grid).slice(n * gridSide ** 2 * 2, (n + 1) * gridSide ** 2 * 2));
  const pooled = poolGrid(grid, side);
  expect(pooled.shape).toEqual([2, side ** 2, 2]);
  const expected = [one, two].flatMap((values) => reference(values ?? [], gridSide, side, 2));
  expect(distance(numbers(pooled), expected)).toBeLessThan(1e-5);
}

test.each([
  [27, 12],
  [16, 12],
  [24, 12],
  [5, 5],
  [7, 1],
])('a grid of side %i pools to side %i as the loop does', expectReference);

test('any grid pools to any smaller one as the loop does', () => {
  const sides = fc
    .integer({ min: 1, max: 9 })
    .chain((gridSide) => fc.tuple(fc.constant(gridSide), fc.integer({ min: 1, max: gridSide })));
  fc.assert(
    fc.property(sides, ([gridSide, side]) => expectReference(gridSide, side)),
    { numRuns: 40 },
  );
});

test('pooling has the gradient of its definition', () => {
  expectGradients((x) => poolGrid(x as tf.Tensor, 2), { x: randomTensor('x', [2, 9, 3]) });
});

test('silu is x·sigmoid(x)', () => {
  const x = randomTensor('x', [9], 3);
  const expected = numbers(x).map((value) => value / (1 + Math.exp(-value)));
  expect(distance(numbers(silu(x)), expected)).toBeLessThan(1e-6);
});

test('swiglu has the gradient of its definition', () => {
  expectBlockGradients(swiglu, randomTensor('x', [3, 4]), swigluParameters(4, 6, 0.02));
});

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
