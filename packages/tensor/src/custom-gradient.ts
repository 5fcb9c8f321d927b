import { kernelBackend } from './kernel-backend.js';
import { tf } from './tf.js';

/**
 * An op with a gradient written by hand, where tfjs's own would be slow, or would record large constants.
 *
 * @param inputs the tensors that receive a gradient
 * @param forward returns the value, and by name the tensors that `backward` needs again
 * @param backward maps the gradient of the value to one gradient per input, in order
 */
export function customGradient<Value extends tf.Tensor, Saved extends Readonly<Record<string, tf.Tensor>>>(
  inputs: readonly tf.Tensor[],
  forward: () => { readonly value: Value; readonly saved: Saved },
  backward: (dValue: tf.Tensor, saved: Saved) => readonly tf.Tensor[],
): Value {
  const op = tf.customGrad<Value>((...inputsAndSave) => {
    const { value, saved } = forward();
    const save = inputsAndSave.at(-1);
    if (typeof save === 'function') save(Object.values(saved));
    return {
      value,
      // tfjs returns the saved tensors in the order in which they were given, without their names.
      gradFunc: (dValue: tf.Tensor, tensors: tf.Tensor[]) => {
        const named = Object.fromEntries(Object.keys(saved).map((name, i) => [name, tensors[i]]));
        return [...backward(dValue, named as Saved)];
      },
    };
  });
  return op(...inputs);
}

/**
 * A matrix product that stays float32, forwards and backwards, where a program's other products are bfloat16: for the
 * few that are small and decide much, such as a router's. [N, K], [K, M] → [N, M] for N rows, inner width K, M columns.
 */
export function preciseMatMul(a_NK: tf.Tensor, b_KM: tf.Tensor): tf.Tensor {
  return customGradient(
    [a_NK, b_KM],
    () => ({ value: float32Product(a_NK, b_KM), saved: { a_NK, b_KM } }),
    (dy_NM, saved) => [
      float32Product(dy_NM, saved.b_KM, { right: true }),
      float32Product(saved.a_NK, dy_NM, { left: true }),
    ],
  );
}

interface Transposed {
  readonly left?: boolean;
  readonly right?: boolean;
}

/** The rewriting pass to bfloat16 knows `MatMul` and `BatchMatMulV2`; the older op of the same kernel is left alone. */
function float32Product(a: tf.Tensor, b: tf.Tensor, { left = false, right = false }: Transposed = {}): tf.Tensor {
  const native = kernelBackend();
  if (native === undefined) return tf.matMul(a, b, left, right);
  return native.rawOp('BatchMatMul', [a, b], { T: { type: 'float32' }, adj_x: { bool: left }, adj_y: { bool: right } });
}
