import { customGradient } from './custom-gradient.js';
import { kernelBackend } from './kernel-backend.js';
import { tf } from './tf.js';

/** The recorded op that stands where the gradient of a recomputable block's result arrives; `block` numbers the block. */
export const BLOCK_GRADIENT = 'BlockGradient';

/**
 * Marks a part of a model, such as a layer, whose inner results need not be kept for the backward pass: an executor
 * with `recompute` computes them a second time when the gradient of the block's result arrives. What the body reads from
 * outside and what is read of it by later parts is kept. Elsewhere, and without a gradient, it is the body alone.
 */
export function recomputable(body: () => tf.Tensor): tf.Tensor {
  const native = kernelBackend();
  if (!native?.isRecording) return body();
  const { block, result } = native.inBlock(body);
  return customGradient(
    [result],
    () => ({ value: tf.clone(result), saved: {} }),
    (dy) => [native.rawOp(BLOCK_GRADIENT, [dy], { block: { int: block } })],
  );
}
