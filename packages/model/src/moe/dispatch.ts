// Legend: R tokens of a microbatch, 2 choices of every token, E experts, C slots of an expert, N = E·C, D width.
import { tf } from '@weft/tensor';
import { withGradient } from '../with-gradient.js';
import { ofChoice, type Placement } from './placement.js';

/**
 * Lays a copy of each token into the slots of its choices: [R, D] → [N, D]. Empty slots get some token's row, which
 * costs less than clearing them: `combine` ignores what becomes of it and gives it no gradient.
 */
export function dispatch(x_RD: tf.Tensor, { tokens_N, slots_R, kept_2R }: Placement): tf.Tensor {
  const [first_R, second_R] = slots_R;
  return withGradient(
    [x_RD],
    () => ({ value: tf.gather(x_RD, tokens_N), saved: { first_R, second_R, kept_2R } }),
    (dy_ND, saved) => [weighedSum(tf.gather(dy_ND, saved.first_R), tf.gather(dy_ND, saved.second_R), saved.kept_2R)],
  );
}

/**
 * Every token's sum of its experts' results, weighed by its gates: [N, D], [2, R] → [R, D]. The gate of a dropped
 * choice is 0, so that it adds nothing; its gradient is meaningless and falls to whoever made it 0.
 */
export function combine(y_ND: tf.Tensor, gates_2R: tf.Tensor, placement: Placement): tf.Tensor {
  const { slots_R, tokens_N, choices_N, held_N } = placement;
  return withGradient(
    [y_ND, gates_2R],
    () => {
      const [first_RD, second_RD] = [tf.gather(y_ND, slots_R[0]), tf.gather(y_ND, slots_R[1])];
      const value = weighedSum(first_RD, second_RD, gates_2R);
      return { value, saved: { first_RD, second_RD, gates_2R, tokens_N, choices_N, held_N } };
    },
    (dOut_RD, saved) => {
      const gate_N = tf.mul(tf.gather(tf.reshape(saved.gates_2R, [-1]), saved.choices_N), saved.held_N);
      const dy_ND = tf.mul(tf.gather(dOut_RD, saved.tokens_N), tf.expandDims(gate_N, 1));
      const dGates_2R = tf.stack([saved.first_RD, saved.second_RD].map((rows) => tf.sum(tf.mul(rows, dOut_RD), 1)));
      return [dy_ND, dGates_2R];
    },
  );
}

function weighedSum(first_RD: tf.Tensor, second_RD: tf.Tensor, weights_2R: tf.Tensor): tf.Tensor {
  const column = (choice: number) => tf.expandDims(ofChoice(weights_2R, choice), 1);
  return tf.add(tf.mul(first_RD, column(0)), tf.mul(second_RD, column(1)));
}
