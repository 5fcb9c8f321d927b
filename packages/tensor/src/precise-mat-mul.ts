// Legend: N rows, K inner width, M columns.
import { customGradient } from './custom-gradient.js';
import { kernelBackend } from './kernel-backend.js';
import { tf } from './tf.js';

/**
 * A matrix product that stays float32, forwards and backwards, where a program's other products are bfloat16: for the
 * few that are small and decide much, such as a router's. [N, K], [K, M] → [N, M].
 */
export function preciseMatMul(a_NK: tf.Tensor, b_KM: tf.Tensor): tf.Tensor {
  return customGradient(
    [a_NK, b_KM],
    () => ({ value: product(a_NK, b_KM), saved: { a_NK, b_KM } }),
    (dy_NM, saved) => [product(dy_NM, saved.b_KM, { right: true }), product(saved.a_NK, dy_NM, { left: true })],
  );
}

interface Transposed {
  readonly left?: boolean;
  readonly right?: boolean;
}

/** The rewriting pass to bfloat16 knows `MatMul` and `BatchMatMulV2`; the older op of the same kernel is left alone. */
function product(a: tf.Tensor, b: tf.Tensor, { left = false, right = false }: Transposed = {}): tf.Tensor {
  const native = kernelBackend();
  if (native === undefined) return tf.matMul(a, b, left, right);
  return native.rawOp('BatchMatMul', [a, b], { T: { type: 'float32' }, adj_x: { bool: left }, adj_y: { bool: right } });
}
