import { WeftError } from '@weft/common';
import { expect, test } from 'vitest';
import { randomTensor } from '../test-support/tensors.js';
import { sizes } from './sizes.js';

test('sizes gives as many dimensions as it is asked for, or says what it was given', () => {
  expect(sizes(randomTensor('x', [2, 3]), 2)).toEqual([2, 3]);
  expect(() => sizes(randomTensor('x', [2, 3]), 3)).toThrow(
    new WeftError('internal', 'a tensor of rank 3 was expected, not one of shape [2, 3]'),
  );
});
