// Legend: E experts, C slots of an expert, G groups of tokens, D width, F feed-forward width.
import { WeftError } from '@weft/common';
import type { DecoderConfig, ModelConfig } from '@weft/config';
import { tf } from '@weft/tensor';
import { silu } from '../ops.js';
import { layerPath, type ParameterSpec, type Parameters, prefix, residualStddev, weight } from '../parameters.js';
import { type ExpertMatrix, expertStackInLayer, expertStackName } from './expert-checkpoint-names.js';
import { moeLayerIndices, requireMoe } from './moe-shape.js';

/**
 * Computes the experts of a layer, here or in another process: row c of expert e of the result is the output of expert
 * e for row c. Differentiable by the tokens. Empty slots have arbitrary rows, whose outputs are ignored and whose
 * gradients are 0.
 * @param layer the decoder layer, from 0
 * @param tokens_ECD the tokens that the router sent to every expert; group g has the slots g·C/G to (g + 1)·C/G − 1
 * @param tokensPerExpert_EG int32, how many slots of each group hold a token: its first ones
 */
export type ExpertFn = (layer: number, tokens_ECD: tf.Tensor, tokensPerExpert_EG: tf.Tensor) => tf.Tensor;

/** The weights of some experts of one layer, stacked in the order of their ids. */
export interface ExpertWeights {
  readonly gate_EDF: tf.Tensor;
  readonly up_EDF: tf.Tensor;
  readonly down_EFD: tf.Tensor;
}

/** A range of expert ids, [first, end). */
export interface ExpertRange {
  readonly first: number;
  readonly end: number;
}

/** The two products of the forward pass that the backward pass reads again. */
export interface ExpertActivations {
  /** x·gate, before SiLU. */
  readonly gate_ECF: tf.Tensor;
  /** x·up. */
  readonly up_ECF: tf.Tensor;
}

/**
 * SwiGLU experts without biases, each on its own tokens: (silu(x·gate) ⊙ x·up)·down (Shazeer, 2020). One batched
 * product over all experts instead of a loop. [E, C, D] → [E, C, D]
 */
export function expertForward(weights: ExpertWeights, tokens_ECD: tf.Tensor): tf.Tensor {
  return expertForwardWithActivations(weights, tokens_ECD).outputs_ECD;
}

/** `expertForward`, and what `expertBackward` reads of it: for a process that runs the two passes apart. */
export function expertForwardWithActivations(
  { gate_EDF, up_EDF, down_EFD }: ExpertWeights,
  tokens_ECD: tf.Tensor,
): ExpertActivations & { readonly outputs_ECD: tf.Tensor } {
  const gate_ECF = tf.matMul(tokens_ECD, gate_EDF);
  const up_ECF = tf.matMul(tokens_ECD, up_EDF);
  const hidden_ECF = tf.mul(silu(gate_ECF), up_ECF);
  return { outputs_ECD: tf.matMul(hidden_ECF, down_EFD), gate_ECF, up_ECF };
}

/**
 * The backward pass of `expertForward`, in two steps: this one returns the gradient of the tokens, which a rank waits
 * for, and the factors from which `expertWeightGradients` makes the gradients of the weights afterwards.
 *
 * With g = x·gate, u = x·up, s = sigmoid(g) and h = g·s·u, the chain rule gives
 *
 *     dh = dy·downᵀ     dg = dh·u·s·(1 + g·(1 − s))     du = dh·g·s     dx = dg·gateᵀ + du·upᵀ
 *
 * @param dOutputs_ECD the gradient of the outputs
 */
export function expertBackward(
  { gate_EDF, up_EDF, down_EFD }: ExpertWeights,
  { gate_ECF, up_ECF }: ExpertActivations,
  dOutputs_ECD: tf.Tensor,
): ExpertBackward {
  const sigmoid_ECF = tf.sigmoid(gate_ECF);
  const silu_ECF = tf.mul(gate_ECF, sigmoid_ECF);
  const dHidden_ECF = tf.matMul(dOutputs_ECD, down_EFD, false, true);
  const slope_ECF = tf.add(sigmoid_ECF, tf.mul(silu_ECF, tf.sub(1, sigmoid_ECF)));
  const dGate_ECF = tf.mul(tf.mul(dHidden_ECF, up_ECF), slope_ECF);
  const dUp_ECF = tf.mul(dHidden_ECF, silu_ECF);
  return {
    dTokens_ECD: tf.add(tf.matMul(dGate_ECF, gate_EDF, false, true), tf.matMul(dUp_ECF, up_EDF, false, true)),
    // Cheaper to compute again than to keep since the forward pass.
    hidden_ECF: tf.mul(silu_ECF, up_ECF),
    dGate_ECF,
    dUp_ECF,
  };
}

/** What the backward pass of experts gives. */
export interface ExpertBackward extends WeightGradientFactors {
  readonly dTokens_ECD: tf.Tensor;
}

/** What the gradients of an expert's weights are made of, besides its tokens and the gradient of its outputs. */
export interface WeightGradientFactors {
  /** silu(x·gate) ⊙ x·up, what `down` was multiplied with. */
  readonly hidden_ECF: tf.Tensor;
  readonly dGate_ECF: tf.Tensor;
  readonly dUp_ECF: tf.Tensor;
}

/** The gradients of the weights, by matrix: each is inputᵀ·dOutput of its product, summed over the slots. */
export function expertWeightGradients(
  tokens_ECD: tf.Tensor,
  dOutputs_ECD: tf.Tensor,
  { hidden_ECF, dGate_ECF, dUp_ECF }: WeightGradientFactors,
): Readonly<Record<ExpertMatrix, tf.Tensor>> {
  return {
    gate: tf.matMul(tokens_ECD, dGate_ECF, true),
    up: tf.matMul(tokens_ECD, dUp_ECF, true),
    down: tf.matMul(hidden_ECF, dOutputs_ECD, true),
  };
}

/**
 * All experts inside this process, as parameters of the model.
 * @throws WeftError `internal` when called for a layer without experts.
 */
export function localExperts(model: ModelConfig, parameter: Parameters): ExpertFn {
  const layers = new Set(moeLayerIndices(model.decoder));
  return (layer, tokens_ECD) => {
    if (!layers.has(layer)) throw new WeftError('internal', `decoder layer ${layer} has no experts`);
    return expertForward(expertWeights(parameter, layer), tokens_ECD);
  };
}

/** The stacked experts of a layer, by the names that `expertParameters` declares. */
export function expertWeights(parameter: Parameters, layer: number): ExpertWeights {
  const stack = (matrix: ExpertMatrix) => parameter(expertStackName(layer, matrix));
  return { gate_EDF: stack('gate'), up_EDF: stack('up'), down_EFD: stack('down') };
}

/**
 * The parameters of some experts of every MoE layer, in forward order.
 * @param experts which ones; default: all
 */
export function expertParameters(model: ModelConfig, experts?: ExpertRange): readonly ParameterSpec[] {
  const range = experts ?? { first: 0, end: requireMoe(model).experts };
  return moeLayerIndices(model.decoder).flatMap((layer) =>
    prefix(`decoder/${layerPath(layer)}`, expertStacks(model.decoder, range)),
  );
}

/** The stacks of one layer's experts, `gate` [E, D, F], `up` [E, D, F] and `down` [E, F, D], below the layer's path. */
export function expertStacks(decoder: DecoderConfig, { first, end }: ExpertRange): readonly ParameterSpec[] {
  const { width, feedForwardWidth, depth } = decoder;
  const count = end - first;
  return [
    weight(expertStackInLayer('gate'), [count, width, feedForwardWidth], ['expert', 'embed', 'mlp']),
    weight(expertStackInLayer('up'), [count, width, feedForwardWidth], ['expert', 'embed', 'mlp']),
    weight(
      expertStackInLayer('down'),
      [count, feedForwardWidth, width],
      ['expert', 'mlp', 'embed'],
      residualStddev(depth),
    ),
  ].map((spec) => ({ ...spec, firstExpert: first }));
}
