// Legend: N rows, V vocabulary.
import { kernelBackend } from './kernel-backend.js';
import { tf } from './tf.js';

/**
 * Softmax cross-entropy against integer labels. It walks the scores as few times as it can: one softmax serves the loss
 * and the gradient, which is softmax − one-hot with the ones taken off in place.
 * @param logits_NV unnormalised scores, float32
 * @param labels_N class per row, int32
 * @returns the loss of each row, shape [N], exact also where the label's probability is too small for a float32
 */
export function sparseSoftmaxCrossEntropy(logits_NV: tf.Tensor2D, labels_N: tf.Tensor1D): tf.Tensor1D {
  const [rows] = logits_NV.shape;
  return tf.customGrad((scores, save) => {
    const probability_NV = tf.softmax(scores as tf.Tensor2D);
    const places_N2 = tf.stack([tf.range(0, rows, 1, 'int32'), labels_N], 1);
    // log Σ exp(score) = greatest score − log of its probability, and that is never below 1/V.
    const greatest_N = tf.max(scores as tf.Tensor2D, 1);
    const behind_N = tf.sub(greatest_N, tf.gatherND(scores as tf.Tensor2D, places_N2));
    const loss_N = tf.sub(behind_N, tf.log(tf.max(probability_NV, 1)));
    (save as tf.GradSaveFunc)([probability_NV, places_N2, labels_N]);
    return {
      value: loss_N,
      gradFunc: (dLoss_N: tf.Tensor, [probability, places, labels]: tf.Tensor[]) => {
        const behind_NV = lessOne(probability as tf.Tensor, places as tf.Tensor, labels as tf.Tensor1D);
        return tf.mul(behind_NV, tf.expandDims(dLoss_N, 1));
      },
    };
  })(logits_NV) as tf.Tensor1D;
}

/** Subtracts 1 at the label's place of every row. */
function lessOne(x_NV: tf.Tensor, places_N2: tf.Tensor, labels_N: tf.Tensor1D): tf.Tensor {
  const native = kernelBackend();
  if (native === undefined) {
    return tf.sub(x_NV, tf.oneHot(labels_N, x_NV.shape[1] as number));
  }
  const types = { T: { type: 'float32' }, Tindices: { type: 'int32' } } as const;
  const less_N = tf.fill([x_NV.shape[0] as number], -1);
  // TensorScatterSub would copy x; this one works in place, once the engine has seen to it that nobody else reads x.
  return native.rawOp('ScatterNdNonAliasingAdd', [x_NV, places_N2, less_N], 1, types)[0] as tf.Tensor;
}
