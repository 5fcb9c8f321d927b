// Legend: N rows, V vocabulary.
import { customGradient } from './custom-gradient.js';
import { kernelBackend } from './kernel-backend.js';
import { itemAt } from './required.js';
import { tf } from './tf.js';

/**
 * Softmax cross-entropy against integer labels. It walks the scores as few times as it can: one softmax serves the loss
 * and the gradient, which is softmax − one-hot with the ones taken off in place.
 *
 * @param logits_NV unnormalised scores, float32
 * @param labels_N class per row, int32
 * @returns the loss of each row, shape [N], exact also where the label's probability is too small for a float32
 */
export function sparseSoftmaxCrossEntropy(logits_NV: tf.Tensor, labels_N: tf.Tensor): tf.Tensor {
  return customGradient(
    [logits_NV],
    () => {
      const probability_NV = tf.softmax(logits_NV);
      const places_N2 = tf.stack([tf.range(0, labels_N.size, 1, 'int32'), labels_N], 1);
      // log Σ exp(score) = greatest score − log of its probability, and that is never below 1/V.
      const greatest_N = tf.max(logits_NV, 1);
      const behind_N = tf.sub(greatest_N, tf.gatherND(logits_NV, places_N2));
      const loss_N = tf.sub(behind_N, tf.log(tf.max(probability_NV, 1)));
      return { value: loss_N, saved: { probability_NV, places_N2, labels_N } };
    },
    (dLoss_N, saved) => {
      const behind_NV = lessOne(saved.probability_NV, saved.places_N2, saved.labels_N);
      return [tf.mul(behind_NV, tf.expandDims(dLoss_N, 1))];
    },
  );
}

/** Subtracts 1 at the label's place of every row. */
function lessOne(x_NV: tf.Tensor, places_N2: tf.Tensor, labels_N: tf.Tensor): tf.Tensor {
  const native = kernelBackend();
  const width = itemAt(x_NV.shape, 1);
  if (native === undefined) return tf.sub(x_NV, tf.oneHot(labels_N, width));
  const less_N = tf.fill([labels_N.size], -1);
  const types = { T: { type: 'float32' }, Tindices: { type: 'int32' } } as const;
  // TensorScatterSub would copy x; this one works in place, once the engine has seen to it that nobody else reads x.
  return native.rawOp('ScatterNdNonAliasingAdd', [x_NV, places_N2, less_N], types);
}
