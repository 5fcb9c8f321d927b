// Legend: G groups, E experts.
import { WeftError } from '@weft/common';
import type { ModelConfig } from '@weft/config';
import { expertImbalance, type MoeLayerStats } from '@weft/contracts';
import { tf } from '@weft/tensor';
import { moeLayerIndices, type TokenGroups } from './moe-shape.js';
import type { Routing } from './router.js';

// The stats of a microbatch are one flat tensor, layer after layer:
//
//     [routed × E, dropped × E, tokens, entropy, loadBalance, zLoss]
//
// Every element is a sum, so stats ride behind the gradients through the same all-reduce, and those of microbatches and
// ranks add up before anybody decodes them.

/** The elements of a layer behind its two lists of experts. */
const SCALARS = ['tokens', 'entropy', 'loadBalance', 'zLoss'] as const;

/** Elements of the flat tensor: 2·E + 4 per MoE layer, none for a dense model. */
export function moeStatsLength({ decoder }: ModelConfig): number {
  return decoder.moe === null ? 0 : moeLayerIndices(decoder).length * (2 * decoder.moe.experts + SCALARS.length);
}

/**
 * One layer's part of the tensor: by expert the assignments routed to it before drops and those dropped; the tokens,
 * the sum of their router entropies, and the sums of load-balance and z-loss over text targets.
 */
export function encodeLayerStats(
  { assignment, entropy, loadBalance, zLoss }: Routing,
  { count }: TokenGroups,
): tf.Tensor {
  const routed_E = tf.sum(assignment.routed_2GE, [0, 1]);
  const kept_E = tf.sum(tf.cast(assignment.tokensPerExpert_EG, 'float32'), 1);
  // In the order of SCALARS.
  const scalars = tf.stack([count, entropy, loadBalance, zLoss]);
  return tf.concat([routed_E, tf.sub(routed_E, kept_E), scalars]);
}

/**
 * Reads the flat tensor and makes shares and means of its sums.
 * @param flat of `moeStatsLength` elements
 * @param lossTokens text targets of everything that was added up
 * @throws WeftError `internal` when the length is another one.
 */
export function decodeMoeStats(
  model: ModelConfig,
  flat: ArrayLike<number>,
  lossTokens: number,
): readonly MoeLayerStats[] {
  const expected = moeStatsLength(model);
  if (flat.length !== expected) {
    throw new WeftError('internal', `MoE stats have ${flat.length} elements instead of ${expected}`);
  }
  const experts = model.decoder.moe?.experts ?? 0;
  const stride = 2 * experts + SCALARS.length;
  const read = (first: number, count: number) => Array.from({ length: count }, (_, i) => flat[first + i] ?? 0);
  return moeLayerIndices(model.decoder).map((layer, index) => {
    const first = index * stride;
    const routed = read(first, experts);
    const dropped = read(first + experts, experts);
    const [tokens = 0, entropy = 0, loadBalance = 0, zLoss = 0] = read(first + 2 * experts, SCALARS.length);
    return {
      layer,
      tokens,
      routed,
      dropped,
      droppedShare: ratio(sum(dropped), sum(routed)),
      imbalance: expertImbalance(routed),
      routerEntropy: ratio(entropy, tokens),
      loadBalanceLoss: ratio(loadBalance, lossTokens),
      routerZLoss: ratio(zLoss, lossTokens),
    };
  });
}

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
/** Nothing of nothing is 0: a step of padding alone has no stats. */
const ratio = (part: number, whole: number) => (whole === 0 ? 0 : part / whole);
