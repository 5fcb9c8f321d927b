import type { tf } from '@weft/tensor';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { expectGradients } from '../test-support/expect-gradients.js';
import { distance, numbers, randomTensor } from '../test-support/tensors.js';
import { poolGrid } from './pool-grid.js';

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
