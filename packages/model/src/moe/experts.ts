// Legend: E experts, C slots of an expert, G groups of tokens, D width, F feed-forward width.
import { WeftError } from '@weft/common';
import type { DecoderConfig, ModelConfig } from '@weft/config';
import { tf } from '@weft/tensor';
import { type ParameterSpec, type Parameters, residualStddev, weight, within } from '../parameters.js';
import { silu } from '../swiglu.js';
import { moeLayers, moeOf } from './moe-shape.js';

/**
 * Computes the experts of a layer: gives row c of expert e for row c of expert e, differentiable by the tokens.
 * Slots that hold no token have arbitrary rows; their results are ignored and their gradients are 0.
 * @param layer the decoder layer, from 0
 * @param tokens_ECD what the router sent to every expert; the slots of group g are g·C/G to (g + 1)·C/G − 1
 * @param filled_EG int32, how many slots of each group hold a token: its first ones
 */
export type ExpertCall = (layer: number, tokens_ECD: tf.Tensor3D, filled_EG: tf.Tensor2D) => tf.Tensor3D;

/** The weights of some experts of one layer, in the order of their numbers. */
export interface ExpertWeights {
  readonly gate_EDF: tf.Tensor;
  readonly up_EDF: tf.Tensor;
  readonly down_EFD: tf.Tensor;
}

/** A range of experts, [first, end). */
export interface ExpertRange {
  readonly first: number;
  readonly end: number;
}

/** SwiGLU experts without biases on the tokens of each, (silu(x·gate) ⊙ x·up)·down: [E, C, D] → [E, C, D]. */
export function expertForward({ gate_EDF, up_EDF, down_EFD }: ExpertWeights, tokens_ECD: tf.Tensor): tf.Tensor3D {
  const gated_ECF = tf.mul(silu(tf.matMul(tokens_ECD, gate_EDF)), tf.matMul(tokens_ECD, up_EDF));
  return tf.matMul(gated_ECF, down_EFD) as tf.Tensor3D;
}

/** All experts inside this process, as stacked parameters of the model. */
export function localExperts(model: ModelConfig, parameter: Parameters): ExpertCall {
  const layers = new Set(moeLayers(model.decoder));
  return (layer, tokens_ECD) => {
    if (!layers.has(layer)) throw new WeftError('internal', `decoder layer ${layer} has no experts`);
    return expertForward(expertWeights(parameter, layer), tokens_ECD);
  };
}

/** The stacked experts of a layer, found by the names that `expertParameters` gives. */
export function expertWeights(parameter: Parameters, layer: number): ExpertWeights {
  const p = within(parameter, `decoder/layers/${layer}/experts`);
  return { gate_EDF: p('gate'), up_EDF: p('up'), down_EFD: p('down') };
}

/**
 * The parameters of some experts of every MoE layer, stacked, in forward order:
 * `decoder/layers/<i>/experts/gate` [E, D, F], `…/up` [E, D, F] and `…/down` [E, F, D].
 * @param experts which ones; default: all
 */
export function expertParameters(model: ModelConfig, experts?: ExpertRange): readonly ParameterSpec[] {
  const range = experts ?? { first: 0, end: moeOf(model).experts };
  return moeLayers(model.decoder).flatMap((layer) =>
    stackedExperts(model.decoder, range).map((spec) => ({
      ...spec,
      name: `decoder/layers/${layer}/${spec.name}`,
    })),
  );
}

/** The stacked experts of one layer, below its own path. */
export function stackedExperts(decoder: DecoderConfig, { first, end }: ExpertRange): readonly ParameterSpec[] {
  const { width, feedForwardWidth, depth } = decoder;
  const count = end - first;
  return [
    weight('experts/gate', [count, width, feedForwardWidth]),
    weight('experts/up', [count, width, feedForwardWidth]),
    weight('experts/down', [count, feedForwardWidth, width], residualStddev(depth)),
  ].map((spec) => ({ ...spec, firstExpert: first }));
}
