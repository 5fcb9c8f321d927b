import { WeftError } from '@weft/common';
import type { ModelConfig } from '@weft/config';
import type { MoeLayerStats } from '@weft/contracts';
import { moeLayers } from './moe-shape.js';

const SCALARS = ['tokens', 'entropy', 'loadBalance', 'z'] as const;

/** Elements of the flat tensor of signals: (2·E + 4) per MoE layer, none for a dense model. */
export function moeSignalsLength({ decoder }: ModelConfig): number {
  return decoder.moe === null ? 0 : moeLayers(decoder).length * (2 * decoder.moe.experts + SCALARS.length);
}

/**
 * Reads the flat tensor of signals, layer after layer: [routed × E, dropped × E, tokens, entropy, loadBalance, z].
 * Every element is a sum, so the signals of microbatches and ranks may be added up before.
 * @param flat of `moeSignalsLength` elements
 * @param lossTokens text targets of everything that was added up
 * @throws WeftError `internal` when the length is another one.
 */
export function decodeMoeSignals(
  model: ModelConfig,
  flat: ArrayLike<number>,
  lossTokens: number,
): readonly MoeLayerStats[] {
  const expected = moeSignalsLength(model);
  if (flat.length !== expected) {
    throw new WeftError('internal', `MoE signals have ${flat.length} elements instead of ${expected}`);
  }
  const experts = model.decoder.moe?.experts ?? 0;
  const stride = 2 * experts + SCALARS.length;
  const at = (first: number, count: number) => Array.from({ length: count }, (_, i) => flat[first + i] ?? 0);
  return moeLayers(model.decoder).map((layer, index) => {
    const first = index * stride;
    const routed = at(first, experts);
    const dropped = at(first + experts, experts);
    const [tokens = 0, entropy = 0, loadBalance = 0, z = 0] = at(first + 2 * experts, SCALARS.length);
    const choices = sum(routed);
    return {
      layer,
      tokens,
      routed,
      dropped,
      droppedShare: ratio(sum(dropped), choices),
      imbalance: ratio(Math.max(...routed) * experts, choices),
      routerEntropy: ratio(entropy, tokens),
      loadBalanceLoss: ratio(loadBalance, lossTokens),
      routerZLoss: ratio(z, lossTokens),
    };
  });
}

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
/** Nothing of nothing is 0: a step of padding alone has no signals to speak of. */
const ratio = (part: number, whole: number) => (whole === 0 ? 0 : part / whole);
