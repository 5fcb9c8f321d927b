import { expect, it } from 'vitest';
import { useBackend } from './kernel-backend.js';
import { recomputable } from './recomputable.js';
import { tf } from './tf.js';

it('is the body alone, with its gradient, where ops run at once', () => {
  useBackend('cpu');
  const cube = (x: tf.Tensor) => tf.mul(tf.square(x), x);
  const x = tf.tensor1d([1, 2, 3]);
  const { value, grads } = tf.valueAndGrads((y: tf.Tensor) => tf.sum(recomputable(() => cube(y))))([x]);
  expect([...value.dataSync()]).toEqual([36]);
  expect([...(grads[0] as tf.Tensor).dataSync()]).toEqual([3, 12, 27]);
});
