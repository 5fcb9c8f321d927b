// Legend: N rows, K inner width, M columns.
import { kernelBackend } from './kernel-backend.js';
import { tf } from './tf.js';

/**
 * A matrix product that stays float32, forwards and backwards, where a program's other products are bfloat16: for the
 * few that are small and decide much, such as a router's. [N, K], [K, M] → [N, M].
 */
export function preciseMatMul(a_NK: tf.Tensor, b_KM: tf.Tensor): tf.Tensor2D {
  return tf.customGrad((a, b, save) => {
    const [left, right] = [a as tf.Tensor, b as tf.Tensor];
    (save as tf.GradSaveFunc)([left, right]);
    return {
      value: product(left, right),
      gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => [
        product(dy, saved[1] as tf.Tensor, { right: true }),
        product(saved[0] as tf.Tensor, dy, { left: true }),
      ],
    };
  })(a_NK, b_KM) as tf.Tensor2D;
}

interface Transposed {
  readonly left?: boolean;
  readonly right?: boolean;
}

/** The rewriting pass to bfloat16 knows `MatMul` and `BatchMatMulV2`; the older op of the same kernel is left alone. */
function product(a: tf.Tensor, b: tf.Tensor, { left = false, right = false }: Transposed = {}): tf.Tensor {
  const native = kernelBackend();
  if (native === undefined) return tf.matMul(a, b, left, right);
  const attrs = { T: { type: 'float32' }, adj_x: { bool: left }, adj_y: { bool: right } } as const;
  return native.rawOp('BatchMatMul', [a, b], 1, attrs)[0] as tf.Tensor;
}
