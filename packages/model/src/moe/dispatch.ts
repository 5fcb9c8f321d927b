// Legend: R tokens of a microbatch, 2 assignments of every token, E experts, C slots of an expert, N = E·C, D width.
import { customGradient, tf } from '@weft/tensor';
import { rowOf, type TokenAssignment } from './token-assignment.js';

/**
 * Copies each token into the slots of its assignments: [R, D] → [N, D]. Forwards and backwards only gather: a scatter
 * of rows would add in an order that differs from run to run.
 *
 * Empty slots get an arbitrary token's row, which costs less than clearing them: `combine` ignores their outputs and
 * gives them no gradient.
 */
export function dispatch(x_RD: tf.Tensor, { tokens_N, slots_R, keepMask_2R }: TokenAssignment): tf.Tensor {
  const [first_R, second_R] = slots_R;
  return customGradient(
    [x_RD],
    () => ({ value: tf.gather(x_RD, tokens_N), saved: { first_R, second_R, keepMask_2R } }),
    // A token was copied to two slots, so its gradient is the sum of two rows; a dropped assignment has none.
    (dy_ND, saved) => [
      weightedSum(tf.gather(dy_ND, saved.first_R), tf.gather(dy_ND, saved.second_R), saved.keepMask_2R),
    ],
  );
}

/**
 * The result of every token: its experts' outputs, weighted by its gates. [N, D], [2, R] → [R, D].
 * The gate of a dropped assignment is 0, so it adds nothing; the gradient of that gate has no meaning, and the caller
 * multiplies it by 0.
 */
export function combine(y_ND: tf.Tensor, gates_2R: tf.Tensor, assignment: TokenAssignment): tf.Tensor {
  const { slots_R, tokens_N, assignments_N, slotMask_N } = assignment;
  return customGradient(
    [y_ND, gates_2R],
    () => {
      const [first_RD, second_RD] = [tf.gather(y_ND, slots_R[0]), tf.gather(y_ND, slots_R[1])];
      const value = weightedSum(first_RD, second_RD, gates_2R);
      return { value, saved: { first_RD, second_RD, gates_2R, tokens_N, assignments_N, slotMask_N } };
    },
    (dOut_RD, saved) => {
      // A slot receives the gradient of its token's result times its gate; an empty slot receives 0.
      const gate_N = tf.mul(tf.gather(tf.reshape(saved.gates_2R, [-1]), saved.assignments_N), saved.slotMask_N);
      const dy_ND = tf.mul(tf.gather(dOut_RD, saved.tokens_N), tf.expandDims(gate_N, 1));
      // A gate scaled a whole row, so its gradient is that row's dot product with the gradient of the result.
      const dGates_2R = tf.stack([saved.first_RD, saved.second_RD].map((rows) => tf.sum(tf.mul(rows, dOut_RD), 1)));
      return [dy_ND, dGates_2R];
    },
  );
}

function weightedSum(first_RD: tf.Tensor, second_RD: tf.Tensor, weights_2R: tf.Tensor): tf.Tensor {
  const column = (k: number) => tf.expandDims(rowOf(weights_2R, k), 1);
  return tf.add(tf.mul(first_RD, column(0)), tf.mul(second_RD, column(1)));
}
