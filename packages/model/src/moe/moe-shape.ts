import { WeftError } from '@weft/common';
import { type DecoderConfig, DROPLESS, type ModelConfig, type MoeConfig } from '@weft/config';

/** Every token is computed by so many experts: top-2 routing. */
export const EXPERTS_PER_TOKEN = 2;

/** The sizes of every MoE layer of a model on one microbatch; all static. */
export interface MoeShape {
  /** E, the experts of a layer. */
  readonly experts: number;
  /** G, the groups that the microbatch's tokens are cut into, in order. */
  readonly groups: number;
  /** S, the tokens of a group. */
  readonly groupSize: number;
  /** The tokens that one expert takes of one group. */
  readonly capacity: number;
  /** C = groups · capacity, the tokens that one expert takes of a microbatch: the slots of its buffer. */
  readonly slots: number;
}

/** The layers whose feed-forward is sparse, counted from 0, ascending; none in a dense model. */
export function moeLayers({ depth, moe }: DecoderConfig): readonly number[] {
  return Array.from({ length: depth }, (_, layer) => layer).filter((layer) => isMoeLayer(moe, layer));
}

/** Whether a layer is sparse: the last one of every run of `everyLayers`. */
export function isMoeLayer(moe: MoeConfig | null, layer: number): moe is MoeConfig {
  return moe !== null && (layer + 1) % moe.everyLayers === 0;
}

/** @throws WeftError `internal` for a dense model. */
export function moeShape(model: ModelConfig, microbatchSize: number): MoeShape {
  return shapeFor(moeOf(model), microbatchSize * model.sequenceLength);
}

/** The sizes for so many tokens; AXLearn's capacity, max(1, ⌊S·factor/E⌋), or S when nothing may be dropped. */
export function shapeFor({ experts, groupSize: wanted, capacityFactor }: MoeConfig, tokens: number): MoeShape {
  const groupSize = wanted === 0 ? tokens : wanted;
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

/** @throws WeftError `internal` for a dense model. */
export function moeOf({ decoder: { moe } }: ModelConfig): MoeConfig {
  if (moe === null) throw new WeftError('internal', 'a dense model has no MoE layers');
  return moe;
}
