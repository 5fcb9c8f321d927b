import { tf } from '@weft/tensor';
import { expect, test } from 'vitest';
import { numbers } from '../test-support/tensors.js';
import { patches } from './patches.js';

test('patches come row by row, and inside a patch pixels row by row with their colours', () => {
  const size = 4;
  const name = (image: number, row: number, column: number, colour: number) =>
    ((image * size + row) * size + column) * 3 + colour;
  const images = tf.reshape(tf.range(0, 2 * size * size * 3), [2, size, size, 3]);
  const expected: number[] = [];
  for (const image of [0, 1])
    for (const patchRow of [0, 1])
      for (const patchColumn of [0, 1])
        for (const row of [0, 1])
          for (const column of [0, 1])
            for (const colour of [0, 1, 2])
              expected.push(name(image, patchRow * 2 + row, patchColumn * 2 + column, colour));
  const cut = patches(images, 2);
  expect(cut.shape).toEqual([8, 12]);
  expect(numbers(cut)).toEqual(expected);
});
