import { expect, test } from 'vitest';
import { expectBlockGradients } from '../test-support/expect-gradients.js';
import { distance, numbers, randomTensor } from '../test-support/tensors.js';
import { silu, swiglu, swigluParameters } from './swiglu.js';

test('silu is x·sigmoid(x)', () => {
  const x = randomTensor('x', [9], 3);
  const expected = numbers(x).map((value) => value / (1 + Math.exp(-value)));
  expect(distance(numbers(silu(x)), expected)).toBeLessThan(1e-6);
});

test('swiglu has the gradient of its definition', () => {
  expectBlockGradients(swiglu, randomTensor('x', [3, 4]), swigluParameters(4, 6, 0.02));
});
