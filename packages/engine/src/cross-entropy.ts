// Legend: N rows, V vocabulary.
import { nativeBackend } from './native-backend.js';
import { tf } from './tf.js';

/**
 * Softmax cross-entropy against integer labels, with the gradient (softmax − one-hot) from the same pass.
 * One TensorFlow op on the native engines; plain tfjs elsewhere.
 * @param logits_NV unnormalised scores, float32
 * @param labels_N class per row, int32
 * @returns the loss of each row, shape [N]
 */
export function sparseSoftmaxCrossEntropy(logits_NV: tf.Tensor2D, labels_N: tf.Tensor1D): tf.Tensor1D {
  return tf.customGrad((logits, save) => {
    const { loss_N, gradient_NV } = lossAndGradient(logits as tf.Tensor2D, labels_N);
    (save as tf.GradSaveFunc)([gradient_NV]);
    return {
      value: loss_N,
      gradFunc: (dLoss_N: tf.Tensor, saved: tf.Tensor[]) => tf.mul(saved[0] as tf.Tensor, tf.expandDims(dLoss_N, 1)),
    };
  })(logits_NV) as tf.Tensor1D;
}

function lossAndGradient(logits_NV: tf.Tensor2D, labels_N: tf.Tensor1D) {
  const native = nativeBackend();
  if (native !== undefined) {
    const [loss, gradient] = native.rawOp('SparseSoftmaxCrossEntropyWithLogits', [logits_NV, labels_N], 2, {
      T: { type: 'float32' },
      Tlabels: { type: 'int32' },
    });
    return { loss_N: loss as tf.Tensor1D, gradient_NV: gradient as tf.Tensor2D };
  }
  const vocabulary = logits_NV.shape[1];
  const logProbability_NV = tf.logSoftmax(logits_NV, 1);
  const hot_NV = tf.oneHot(labels_N, vocabulary) as tf.Tensor2D;
  return {
    loss_N: tf.neg(tf.sum(tf.mul(hot_NV, logProbability_NV), 1)) as tf.Tensor1D,
    gradient_NV: tf.sub(tf.exp(logProbability_NV), hot_NV) as tf.Tensor2D,
  };
}
