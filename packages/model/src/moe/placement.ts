// Legend: R = G·S tokens of a microbatch, G groups, S tokens of a group, E experts, 2 choices of every token,
// N = E·C slots of all experts' buffers.
import { WeftError } from '@weft/common';
import { tf } from '@weft/tensor';
import { sizes } from '../sizes.js';
import type { TokenGroups } from './token-groups.js';

/**
 * Where the tokens go. A choice has the number k·R + r: the k-th (0 or 1) of token r. Slots are numbered through all
 * experts: those of expert e for group g begin at e·C + g·capacity. All of it is constant for the gradient.
 */
export interface Placement {
  /** 1 at the expert of every choice; nothing for padding. */
  readonly marks_2RE: tf.Tensor;
  /** Choices that fell on every expert, before drops. */
  readonly routed_2GE: tf.Tensor;
  /** Slots that hold a token, the first ones of each group, int32. */
  readonly filled_EG: tf.Tensor;
  /** 1 where a choice has a slot, 0 where it was dropped or is padding's. */
  readonly kept_2R: tf.Tensor;
  /** The slots of all first choices and of all second ones, int32; any slot where a choice has none. */
  readonly slots_R: readonly [tf.Tensor1D, tf.Tensor1D];
  /** The choice in every slot, int32; any choice where the slot is empty. */
  readonly choices_N: tf.Tensor1D;
  /** The token in every slot, int32; any token where the slot is empty. */
  readonly tokens_N: tf.Tensor1D;
  /** 1 where a slot holds a token, else 0. */
  readonly held_N: tf.Tensor;
}

/** Whole numbers above this are no longer exact in float32, in which slots are computed: it stays on a GPU. */
const LARGEST_EXACT = 2 ** 24;

/**
 * Gives slots to choices: within a group all first choices in the order of their tokens, then all second ones, until
 * an expert's capacity is used up. What comes later is dropped.
 *
 * AXLearn puts second choices behind the *kept* first ones; behind *all* first ones, as here, is the same: the two
 * differ only where the first ones alone exceed the capacity, and there no second choice has room.
 * @param expert_2R the expert of every choice, as float32
 */
export function place(expert_2R: tf.Tensor, { shape, live_R }: TokenGroups): Placement {
  const { experts, groups, groupSize, capacity, slots } = shape;
  const tokens = groups * groupSize;
  const allSlots = experts * slots;
  if (Math.max(allSlots, 2 * tokens) >= LARGEST_EXACT) {
    throw new WeftError('invalid_argument', `${allSlots} slots of experts in one microbatch are too many to number`, {
      cure: 'make microbatchSize or model.decoder.moe.capacityFactor smaller',
    });
  }

  const live_1R = tf.reshape(live_R, [1, tokens]);
  // An expert of −1 has no mark.
  const liveExpert_2R = tf.sub(tf.mul(tf.add(expert_2R, 1), live_1R), 1);
  const marks_2RE = tf.oneHot(tf.cast(liveExpert_2R, 'int32'), experts, 1, 0, 'float32');
  const marks_2GSE = tf.reshape(marks_2RE, [2, groups, groupSize, experts]);
  const routed_2GE = tf.sum(marks_2GSE, 2);

  const firstChoices_2G1E = tf.expandDims(tf.cumsum(routed_2GE, 0, true), 2);
  const earlier_2GSE = tf.add(tf.cumsum(marks_2GSE, 2, true), firstChoices_2G1E);
  const position_2R = tf.reshape(tf.sum(tf.mul(earlier_2GSE, marks_2GSE), 3), [2, tokens]);
  const kept_2R = tf.mul(tf.cast(tf.less(position_2R, capacity), 'float32'), live_1R);

  const groupStart_1R = tf.tensor2d(
    Float32Array.from({ length: tokens }, (_, token) => Math.floor(token / groupSize) * capacity),
    [1, tokens],
  );
  const slot_2R = tf.add(tf.add(tf.mul(expert_2R, slots), groupStart_1R), position_2R);
  // Choices without a slot meet in one more behind the last, which is cut off again.
  const slotOrLast_2R = tf.add(tf.mul(tf.sub(slot_2R, allSlots), kept_2R), allSlots);
  const choiceNumbers = tf.tensor1d(Float32Array.from({ length: 2 * tokens }, (_, choice) => choice + 1));
  const occupants = tf.scatterND(tf.cast(tf.reshape(slotOrLast_2R, [2 * tokens, 1]), 'int32'), choiceNumbers, [
    allSlots + 1,
  ]);
  const occupant_N = tf.slice(occupants, 0, allSlots);
  const choice_N: tf.Tensor1D = tf.maximum(tf.sub(occupant_N, 1), 0);
  const isSecond_N = tf.cast(tf.greaterEqual(choice_N, tokens), 'float32');
  const token_N: tf.Tensor1D = tf.sub(choice_N, tf.mul(isSecond_N, tokens));

  const anySlot_2R = tf.mul(slot_2R, kept_2R);
  const slotsOf = (choice: number) => tf.cast(ofChoice(anySlot_2R, choice), 'int32');

  return {
    marks_2RE,
    routed_2GE,
    filled_EG: tf.cast(tf.transpose(tf.minimum(tf.sum(routed_2GE, 0), capacity)), 'int32'),
    kept_2R,
    slots_R: [slotsOf(0), slotsOf(1)],
    choices_N: tf.cast(choice_N, 'int32'),
    tokens_N: tf.cast(token_N, 'int32'),
    held_N: tf.minimum(occupant_N, 1),
  };
}

/** The row of all first (0) or all second (1) choices: [2, R] → [R]. */
export function ofChoice(x_2R: tf.Tensor, choice: number): tf.Tensor1D {
  const [, tokens] = sizes(x_2R, 2);
  return tf.reshape(tf.slice(x_2R, [choice, 0], [1, tokens]), [tokens]);
}
