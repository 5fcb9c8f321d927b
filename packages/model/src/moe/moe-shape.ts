// Legend: R = G·S tokens of a microbatch, G groups, S tokens of a group.
import { WeftError } from '@weft/common';
import { type DecoderConfig, DROPLESS, type ModelConfig, type MoeConfig } from '@weft/config';
import { tf } from '@weft/tensor';

/** The experts that compute each token: top-2 routing. */
export const EXPERTS_PER_TOKEN = 2;

/** The decoder layers that have experts, from 0, ascending; none in a dense model. */
export function moeLayerIndices({ depth, moe }: DecoderConfig): readonly number[] {
  return Array.from({ length: depth }, (_, layer) => layer).filter((layer) => isMoeLayer(moe, layer));
}

/** Whether a layer has experts: the last one of every `everyLayers`. */
export function isMoeLayer(moe: MoeConfig | null, layer: number): moe is MoeConfig {
  return moe !== null && (layer + 1) % moe.everyLayers === 0;
}

/**
 * The configuration of a model's MoE layers.
 * @throws WeftError `internal` for a dense model.
 */
export function requireMoe({ decoder: { moe } }: ModelConfig): MoeConfig {
  if (moe === null) throw new WeftError('internal', 'a dense model has no MoE layers');
  return moe;
}

/** The sizes of every MoE layer of a model on one microbatch; all static, so that a layer can be recorded once. */
export interface MoeShape {
  /** E, the experts of a layer. */
  readonly experts: number;
  /** G, the groups that the microbatch's tokens are cut into, in order. */
  readonly groups: number;
  /** S, the tokens of a group. */
  readonly groupSize: number;
  /** The tokens that one expert takes of one group. */
  readonly capacity: number;
  /** C = groups · capacity, the slots of one expert in a microbatch. */
  readonly slots: number;
}

/**
 * The sizes for a number of sequences.
 * @throws WeftError `internal` for a dense model.
 */
export function moeShape(model: ModelConfig, microbatchSize: number): MoeShape {
  return shapeFor(requireMoe(model), microbatchSize * model.sequenceLength);
}

/** The sizes for a number of tokens. An expert's capacity is AXLearn's max(1, ⌊S·factor/E⌋), or S when dropless. */
export function shapeFor(moe: MoeConfig, tokens: number): MoeShape {
  const { experts, capacityFactor } = moe;
  const groupSize = moe.groupSize === 0 ? tokens : moe.groupSize;
  const groups = tokens / groupSize;
  if (!Number.isInteger(groups)) {
    throw new WeftError('internal', `groups of ${groupSize} tokens do not divide the ${tokens} of a microbatch`);
  }
  const capacity =
    capacityFactor === DROPLESS
      ? groupSize
      : Math.min(groupSize, Math.max(1, Math.floor((groupSize * capacityFactor) / experts)));
  return { experts, groups, groupSize, capacity, slots: groups * capacity };
}

/** What every MoE layer needs to know of a microbatch's tokens; the same for all layers. */
export interface TokenGroups {
  readonly shape: MoeShape;
  /** 1 for a token of the sequences, 0 for padding, which is neither routed nor counted. */
  readonly tokenMask_R: tf.Tensor;
  /** Tokens of each group without its padding, at least 1 so that it can be divided by. */
  readonly size_G: tf.Tensor;
  /**
   * The weight of each token's router losses in the loss of the microbatch: text targets of its group / tokens of its
   * group. They add up to the number of text targets, so a mean over the tokens of a group becomes a sum over text
   * targets, like the cross-entropy.
   */
  readonly share_R: tf.Tensor;
  /** Tokens of the microbatch without its padding. */
  readonly count: tf.Scalar;
}

/**
 * Cuts the tokens of a microbatch into groups.
 * @param segmentIds_BT the segment every position belongs to, 0 for padding
 * @param lossMask_BT 1 where the target is text
 */
export function tokenGroups(segmentIds_BT: tf.Tensor, lossMask_BT: tf.Tensor, shape: MoeShape): TokenGroups {
  const { groups, groupSize } = shape;
  const grouped = (x: tf.Tensor) => tf.reshape(x, [groups, groupSize]);
  // TensorFlow compares int32 on the host even when there is a GPU; float32 stays on the device.
  const tokenMask_GS = tf.minimum(tf.cast(grouped(segmentIds_BT), 'float32'), 1);
  const size_G1 = tf.maximum(tf.sum(tokenMask_GS, 1, true), 1);
  const targets_G1 = tf.sum(grouped(lossMask_BT), 1, true);
  return {
    shape,
    tokenMask_R: tf.reshape(tokenMask_GS, [-1]),
    size_G: tf.reshape(size_G1, [groups]),
    share_R: tf.reshape(tf.mul(tokenMask_GS, tf.div(targets_G1, size_G1)), [-1]),
    count: tf.sum(tokenMask_GS),
  };
}
