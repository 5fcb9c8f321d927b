// Legend: R = G·S tokens of a microbatch, G groups, S tokens of a group.
import { tf } from '@weft/tensor';
import type { MoeShape } from './moe-shape.js';

/** What every MoE layer needs to know of a microbatch's tokens; the same for all layers. */
export interface TokenGroups {
  readonly shape: MoeShape;
  /** 1 for a token of the sequences, 0 for padding, which is neither routed nor counted. */
  readonly live_R: tf.Tensor;
  /** Tokens of each group without its padding, at least 1 so that it may be divided by. */
  readonly size_G: tf.Tensor;
  /**
   * What a token's router losses weigh in the loss of the microbatch. They add up to the number of text targets: a
   * loss that is a mean over the tokens of a group so becomes a sum over text targets, like the cross-entropy.
   */
  readonly share_R: tf.Tensor;
  /** Tokens of the microbatch without its padding. */
  readonly count: tf.Scalar;
}

/**
 * @param segmentIds_BT the piece every position belongs to, 0 for padding
 * @param lossMask_BT 1 where the target is text
 */
export function tokenGroups(segmentIds_BT: tf.Tensor, lossMask_BT: tf.Tensor, shape: MoeShape): TokenGroups {
  const { groups, groupSize } = shape;
  const grouped = (x: tf.Tensor) => tf.reshape(x, [groups, groupSize]);
  // TensorFlow compares int32 on the host even when a GPU is at hand; float32 stays on the device.
  const live_GS = tf.minimum(tf.cast(grouped(segmentIds_BT), 'float32'), 1);
  const size_G1 = tf.maximum(tf.sum(live_GS, 1, true), 1);
  const targets_G1 = tf.sum(grouped(lossMask_BT), 1, true);
  return {
    shape,
    live_R: tf.reshape(live_GS, [-1]),
    size_G: tf.reshape(size_G1, [groups]),
    share_R: tf.reshape(tf.mul(live_GS, tf.div(targets_G1, size_G1)), [-1]),
    count: tf.sum(live_GS),
  };
}
