import { tf } from '@weft/tensor';
import { describe, expect, it } from 'vitest';
import { distance, numbers, randomTensor } from '../../test-support/tensors.js';
import { expertBackward, expertForward, expertForwardWithActivations, expertWeightGradients } from './experts.js';

const [EXPERTS, SLOTS, WIDTH, HIDDEN] = [3, 4, 5, 6];
const tokens = randomTensor('tokens', [EXPERTS, SLOTS, WIDTH]);
const dOutputs = randomTensor('gradient of the outputs', [EXPERTS, SLOTS, WIDTH]);
const weights = {
  gate_EDF: randomTensor('gate', [EXPERTS, WIDTH, HIDDEN]),
  up_EDF: randomTensor('up', [EXPERTS, WIDTH, HIDDEN]),
  down_EFD: randomTensor('down', [EXPERTS, HIDDEN, WIDTH]),
};

describe('experts', () => {
  it('give the same outputs whether or not activations are kept', () => {
    const { outputs_ECD } = expertForwardWithActivations(weights, tokens);
    expect(numbers(outputs_ECD)).toEqual(numbers(expertForward(weights, tokens)));
  });

  it('have in their backward pass the gradients of their forward pass', () => {
    const backward = expertBackward(weights, expertForwardWithActivations(weights, tokens), dOutputs);
    const { gate, up, down } = expertWeightGradients(tokens, dOutputs, backward);
    const objective = (x: tf.Tensor, gate_EDF: tf.Tensor, up_EDF: tf.Tensor, down_EFD: tf.Tensor) =>
      tf.sum(tf.mul(expertForward({ gate_EDF, up_EDF, down_EFD }, x), dOutputs));
    const expected = tf.grads(objective)([tokens, weights.gate_EDF, weights.up_EDF, weights.down_EFD]);
    [backward.dTokens_ECD, gate, up, down].forEach((gradient, i) => {
      expect(distance(numbers(gradient), numbers(expected[i] as tf.Tensor))).toBeLessThan(1e-4);
    });
  });
});
