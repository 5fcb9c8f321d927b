// Legend: B batch, T positions, R = B·T rows, M image tokens of the batch, D width, H query heads, J key-value heads,
// C width of one head, V vocabulary.
import type { DecoderConfig } from '@weft/config';
import { attention, type ReadablePositions, readablePositions, tf } from '@weft/tensor';
import { joinHeads, type RotaryTables, rotaryTables, rotate, splitHeads } from './attention.js';
import { ROUTER } from './moe/expert-checkpoint-names.js';
import { expertStacks } from './moe/experts.js';
import { type MoeLayers, routerParameters } from './moe/moe-layers.js';
import { isMoeLayer } from './moe/moe-shape.js';
import { rmsNorm } from './norms.js';
import { sizes, swiglu, swigluParameters, takeRows } from './ops.js';
import {
  applyLayers,
  normScale,
  type ParameterSpec,
  type Parameters,
  prefix,
  prefixLayers,
  residualStddev,
  scope,
  weight,
} from './parameters.js';

/** What all blocks share: how rows are arranged, which of them may read each other, and the MoE layers. */
interface BlockContext {
  readonly batch: number;
  readonly readable: ReadablePositions;
  readonly rotary: RotaryTables;
  readonly moe: MoeLayers | undefined;
}

/** The parameters of the decoder with its token embedding, in the order in which the forward pass uses them. */
export function decoderParameters(decoder: DecoderConfig): readonly ParameterSpec[] {
  const { vocabularySize, width, depth } = decoder;
  return [
    weight('embedding', [vocabularySize, width], ['vocabulary', 'embed']),
    ...prefixLayers(depth, (layer) => blockParameters(decoder, layer)),
    normScale('norm', width),
    weight('head', [width, vocabularySize], ['embed', 'vocabulary']),
  ];
}

/**
 * The input of the decoder: at every position either an image token or the embedding of a text token. From here on the
 * decoder treats both alike.
 * @param imageTokens_MD the connector's output
 * @param embedding_VD the token embedding
 * @param imageTokenIndex_BT i > 0: the position holds row i − 1 of `imageTokens_MD`; 0: it holds text
 * @returns [B·T, D]
 */
export function decoderInput(
  imageTokens_MD: tf.Tensor,
  embedding_VD: tf.Tensor,
  tokenIds_BT: tf.Tensor,
  imageTokenIndex_BT: tf.Tensor,
): tf.Tensor {
  const one = tf.scalar(1, 'int32');
  const isImage_BT = tf.cast(tf.greaterEqual(imageTokenIndex_BT, one), 'int32');
  // An image position takes no text row and a text position no image row: −1 stands for none.
  const textRows_BT = tf.sub(tf.mul(tokenIds_BT, tf.sub(one, isImage_BT)), isImage_BT);
  return tf.add(takeRows(embedding_VD, textRows_BT), takeRows(imageTokens_MD, tf.sub(imageTokenIndex_BT, one)));
}

/**
 * The language model after its embedding: a pre-norm transformer in the shape of Llama (Touvron et al., 2023), with
 * causal attention, SwiGLU, RMSNorm, RoPE, no biases, and an output head apart from the embedding. Attention never
 * crosses the segments of a packed sequence.
 * @param x_RD one row per position, as `decoderInput` builds them
 * @param segmentIds_BT the segment every position belongs to, 0 for padding
 * @param positions_BT the position within its segment
 * @param moe computes the MoE layers of a model that has them
 * @returns the logits of the next token, [R, V]
 */
export function decoder(
  x_RD: tf.Tensor,
  p: Parameters,
  config: DecoderConfig,
  segmentIds_BT: tf.Tensor,
  positions_BT: tf.Tensor,
  moe?: MoeLayers,
): tf.Tensor2D {
  const [batch] = sizes(segmentIds_BT, 2);
  // Mask and rotations are the same in all layers and heads, so they are computed once.
  const context: BlockContext = {
    batch,
    readable: readablePositions(true, segmentIds_BT),
    rotary: rotaryTables(positions_BT, config.width / config.heads, config.ropeTheta),
    moe,
  };
  const y_RD = applyLayers(x_RD, p, config.depth, (x, own, layer) => block(x, own, config, context, layer));
  // One logit per word of the vocabulary: how well the last vector of a position points at that word.
  return tf.matMul(rmsNorm(y_RD, p('norm'), config.normEpsilon), p('head'));
}

function blockParameters(config: DecoderConfig, layer: number): readonly ParameterSpec[] {
  const { width, depth, feedForwardWidth, moe } = config;
  return [
    normScale('attentionNorm', width),
    ...prefix('attention', attentionParameters(config)),
    normScale('feedForwardNorm', width),
    ...(isMoeLayer(moe, layer)
      ? [...routerParameters(width, moe), ...expertStacks(config, { first: 0, end: moe.experts })]
      : prefix('feedForward', swigluParameters(width, feedForwardWidth, residualStddev(depth)))),
  ];
}

/**
 * A pre-norm block: x + attention(norm(x)), then x + feedForward(norm(x)). Both only ever add to the residual stream x,
 * so gradients reach the first layer undamped. In an MoE layer a router chooses each token's feed-forward networks.
 */
function block(x_RD: tf.Tensor, p: Parameters, config: DecoderConfig, context: BlockContext, layer: number): tf.Tensor {
  const attentionInput_RD = rmsNorm(x_RD, p('attentionNorm'), config.normEpsilon);
  const afterAttention_RD = tf.add(x_RD, selfAttention(attentionInput_RD, scope(p, 'attention'), config, context));
  const feedForwardInput_RD = rmsNorm(afterAttention_RD, p('feedForwardNorm'), config.normEpsilon);
  const feedForward_RD =
    context.moe !== undefined && isMoeLayer(config.moe, layer)
      ? context.moe.feedForward(layer, feedForwardInput_RD, p(ROUTER))
      : swiglu(feedForwardInput_RD, scope(p, 'feedForward'));
  return tf.add(afterAttention_RD, feedForward_RD);
}

function attentionParameters({ width, heads, keyValueHeads, depth, qkNorm }: DecoderConfig): readonly ParameterSpec[] {
  const headWidth = width / heads;
  return [
    weight('query', [width, width], ['embed', 'heads']),
    weight('key', [width, keyValueHeads * headWidth], ['embed', 'heads']),
    weight('value', [width, keyValueHeads * headWidth], ['embed', 'heads']),
    ...(qkNorm ? [normScale('queryNorm', headWidth), normScale('keyNorm', headWidth)] : []),
    weight('output', [width, width], ['heads', 'embed'], residualStddev(depth)),
  ];
}

/** Causal self-attention with grouped queries and rotary positions; `qkNorm` (Henry et al., 2020) bounds the scores. */
function selfAttention(x_RD: tf.Tensor, p: Parameters, config: DecoderConfig, context: BlockContext): tf.Tensor {
  const { heads, keyValueHeads, qkNorm, normEpsilon } = config;
  const q_BTHC = splitHeads(tf.matMul(x_RD, p('query')), context.batch, heads);
  const k_BTJC = splitHeads(tf.matMul(x_RD, p('key')), context.batch, keyValueHeads);
  const v_BTJC = splitHeads(tf.matMul(x_RD, p('value')), context.batch, keyValueHeads);
  // Per head, and before the rotation: a learned scale per channel would not commute with it.
  const position = (x: tf.Tensor, norm: string) =>
    rotate(qkNorm ? rmsNorm(x, p(norm), normEpsilon) : x, context.rotary);
  // Values carry no position: what is read does not depend on where it stood.
  const read_BTHC = attention(position(q_BTHC, 'queryNorm'), position(k_BTJC, 'keyNorm'), v_BTJC, context.readable);
  return tf.matMul(joinHeads(read_BTHC), p('output'));
}
