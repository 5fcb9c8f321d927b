// Legend: R = G·S tokens of a microbatch, G groups, S tokens of a group, E experts, C slots of an expert,
// N = E·C slots of all experts, 2 assignments of every token: to its most probable expert and to the second one.
import { WeftError } from '@weft/common';
import { tf } from '@weft/tensor';
import { sizes } from '../ops.js';
import type { TokenGroups } from './moe-shape.js';

/**
 * Which token goes where. The assignment of token r to its first (k = 0) or second (k = 1) expert has the number k·R + r.
 * Slots are numbered through all experts: those of expert e for group g begin at e·C + g·capacity. The gradient takes
 * all of it as constant.
 */
export interface TokenAssignment {
  /** One-hot: 1 at the expert of every assignment; all 0 for padding. */
  readonly expertMask_2RE: tf.Tensor;
  /** Assignments to every expert, before drops. */
  readonly routed_2GE: tf.Tensor;
  /** Slots that hold a token, int32: the first ones of each group. */
  readonly tokensPerExpert_EG: tf.Tensor;
  /** 1 where an assignment has a slot, 0 where it was dropped or belongs to padding. */
  readonly keepMask_2R: tf.Tensor;
  /** The slots of all first assignments and of all second ones, int32; any slot where an assignment has none. */
  readonly slots_R: readonly [tf.Tensor1D, tf.Tensor1D];
  /** The assignment in every slot, int32; any assignment where the slot is empty. */
  readonly assignments_N: tf.Tensor1D;
  /** The token in every slot, int32; any token where the slot is empty. */
  readonly tokens_N: tf.Tensor1D;
  /** 1 where a slot holds a token, else 0. */
  readonly slotMask_N: tf.Tensor;
}

/** Integers above this are no longer exact in float32, in which slots are computed because int32 would leave the GPU. */
const LARGEST_EXACT = 2 ** 24;

/**
 * Gives slots to assignments: within a group first all first assignments in the order of their tokens, then all second
 * ones, until an expert's capacity is used up. The rest is dropped, as in GShard (Lepikhin et al., 2020).
 *
 * AXLearn puts second assignments behind the *kept* first ones; behind *all* first ones, as here, is the same: the two
 * differ only where the first ones alone exceed the capacity, and then no second one gets a slot anyway.
 * @param expert_2R the expert of every assignment, as float32
 * @throws WeftError `invalid_argument` for more slots or assignments than float32 can count.
 */
export function assignSlots(expert_2R: tf.Tensor, { shape, tokenMask_R }: TokenGroups): TokenAssignment {
  const { experts, groups, groupSize, capacity, slots } = shape;
  const tokens = groups * groupSize;
  const allSlots = experts * slots;
  if (Math.max(allSlots, 2 * tokens) >= LARGEST_EXACT) {
    throw new WeftError('invalid_argument', `${allSlots} slots of experts in one microbatch are too many to number`, {
      hint: 'make microbatchSize or model.decoder.moe.capacityFactor smaller',
    });
  }

  // One-hot rows make counting a sum. Padding gets expert −1, whose row is all zeros, so it counts nowhere.
  const tokenMask_1R = tf.reshape(tokenMask_R, [1, tokens]);
  const maskedExpert_2R = tf.sub(tf.mul(tf.add(expert_2R, 1), tokenMask_1R), 1);
  const expertMask_2RE = tf.oneHot(tf.cast(maskedExpert_2R, 'int32'), experts, 1, 0, 'float32');
  const expertMask_2GSE = tf.reshape(expertMask_2RE, [2, groups, groupSize, experts]);
  const routed_2GE = tf.sum(expertMask_2GSE, 2);

  // The position of an assignment at its expert is the number of earlier ones: an exclusive cumulative sum over the
  // group's tokens, and for second assignments all first ones before that.
  const firstAssignments_2G1E = tf.expandDims(tf.cumsum(routed_2GE, 0, true), 2);
  const earlier_2GSE = tf.add(tf.cumsum(expertMask_2GSE, 2, true), firstAssignments_2G1E);
  const position_2R = tf.reshape(tf.sum(tf.mul(earlier_2GSE, expertMask_2GSE), 3), [2, tokens]);
  const keepMask_2R = tf.mul(tf.cast(tf.less(position_2R, capacity), 'float32'), tokenMask_1R);

  const groupStart_1R = tf.tensor2d(
    Float32Array.from({ length: tokens }, (_, token) => Math.floor(token / groupSize) * capacity),
    [1, tokens],
  );
  const slot_2R = tf.add(tf.add(tf.mul(expert_2R, slots), groupStart_1R), position_2R);

  // So far: assignment to slot. One scatter inverts the map, so dispatch can gather instead of scattering rows.
  // Dropped assignments share one extra slot behind the last, which is cut off again.
  const slotOrExtra_2R = tf.add(tf.mul(tf.sub(slot_2R, allSlots), keepMask_2R), allSlots);
  const assignmentNumbers = tf.tensor1d(Float32Array.from({ length: 2 * tokens }, (_, assignment) => assignment + 1));
  const occupants = tf.scatterND(tf.cast(tf.reshape(slotOrExtra_2R, [2 * tokens, 1]), 'int32'), assignmentNumbers, [
    allSlots + 1,
  ]);
  // 0 is an empty slot, which is why assignments count from 1 here.
  const occupant_N = tf.slice(occupants, 0, allSlots);
  const assignment_N: tf.Tensor1D = tf.maximum(tf.sub(occupant_N, 1), 0);
  const isSecond_N = tf.cast(tf.greaterEqual(assignment_N, tokens), 'float32');
  const token_N: tf.Tensor1D = tf.sub(assignment_N, tf.mul(isSecond_N, tokens));

  const validSlot_2R = tf.mul(slot_2R, keepMask_2R);
  const slotsOf = (k: number) => tf.cast(rowOf(validSlot_2R, k), 'int32');

  return {
    expertMask_2RE,
    routed_2GE,
    tokensPerExpert_EG: tf.cast(tf.transpose(tf.minimum(tf.sum(routed_2GE, 0), capacity)), 'int32'),
    keepMask_2R,
    slots_R: [slotsOf(0), slotsOf(1)],
    assignments_N: tf.cast(assignment_N, 'int32'),
    tokens_N: tf.cast(token_N, 'int32'),
    slotMask_N: tf.minimum(occupant_N, 1),
  };
}

/** The row of all first (k = 0) or all second (k = 1) assignments: [2, R] → [R]. */
export function rowOf(x_2R: tf.Tensor, k: number): tf.Tensor1D {
  const [, tokens] = sizes(x_2R, 2);
  return tf.reshape(tf.slice(x_2R, [k, 0], [1, tokens]), [tokens]);
}
