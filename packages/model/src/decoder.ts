// Legend: B batch, T positions, R = B·T rows, M image tokens of the batch, D width, H query heads, J key-value heads,
// C width of one head, V vocabulary.
import type { DecoderConfig } from '@weft/config';
import { attention, readablePositions, tf } from '@weft/tensor';
import { joinHeads, type RotaryTables, rotaryTables, rotate, splitHeads } from './attention.js';
import { ROUTER } from './moe/expert-checkpoint-names.js';
import { expertStacks } from './moe/experts.js';
import { type MoeLayers, routerParameters } from './moe/moe-layers.js';
import { isMoeLayer } from './moe/moe-shape.js';
import { rmsNorm } from './norms.js';
import { sizes, swiglu, swigluParameters, takeRows } from './ops.js';
import {
  applyLayers,
  bias,
  normScale,
  type ParameterSpec,
  type Parameters,
  prefix,
  prefixLayers,
  residualStddev,
  scope,
  weight,
} from './parameters.js';

/**
 * Lets the queries of a layer read: rotated queries [B, T, H, C] and keys [B, T, J, C], values [B, T, J, C] → what is
 * read, [B, T, H, C].
 */
export type Attend = (layer: number, q_BTHC: tf.Tensor, k_BTJC: tf.Tensor, v_BTJC: tf.Tensor) => tf.Tensor;

/** What all blocks share: how rows are arranged, what their attention reads, and the MoE layers. */
interface BlockContext {
  readonly batch: number;
  readonly attend: Attend;
  readonly rotary: RotaryTables;
  readonly moe: MoeLayers | undefined;
}

/** The parameters of the decoder with its token embedding, in the order in which the forward pass uses them. */
export function decoderParameters(decoder: DecoderConfig): readonly ParameterSpec[] {
  const { vocabularySize, width, depth, tiedEmbeddings } = decoder;
  return [
    weight('embedding', [vocabularySize, width], ['vocabulary', 'embed']),
    ...prefixLayers(depth, (layer) => blockParameters(decoder, layer)),
    normScale('norm', width),
    ...(tiedEmbeddings ? [] : [weight('head', [width, vocabularySize], ['embed', 'vocabulary'])]),
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
 * causal attention, SwiGLU, RMSNorm and RoPE. Attention never crosses the segments of a packed sequence.
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
  // The mask is the same in all layers and heads, so it is made once.
  const readable = readablePositions(true, segmentIds_BT);
  const attend: Attend = (_layer, q_BTHC, k_BTJC, v_BTJC) => attention(q_BTHC, k_BTJC, v_BTJC, readable);
  return nextTokenLogits(decoderBlocks(x_RD, p, config, positions_BT, attend, moe), p, config);
}

/** The blocks of `decoder`, from its input to the residual stream after the last one: [R, D] → [R, D]. */
export function decoderBlocks(
  x_RD: tf.Tensor,
  p: Parameters,
  config: DecoderConfig,
  positions_BT: tf.Tensor,
  attend: Attend,
  moe?: MoeLayers,
): tf.Tensor {
  const [batch] = sizes(positions_BT, 2);
  // Rotations are the same in all layers and heads, so they are computed once.
  const rotary = rotaryTables(positions_BT, config.headWidth, config.ropeTheta, config.ropeScaling);
  const context: BlockContext = { batch, attend, rotary, moe };
  return applyLayers(x_RD, p, config.depth, (x, own, layer) => block(x, own, config, context, layer));
}

/** One logit per word of the vocabulary: how well the last vector of a position points at that word. [R, D] → [R, V] */
export function nextTokenLogits(y_RD: tf.Tensor, p: Parameters, config: DecoderConfig): tf.Tensor2D {
  const normal_RD = rmsNorm(y_RD, p('norm'), config.normEpsilon);
  return config.tiedEmbeddings ? tf.matMul(normal_RD, p('embedding'), false, true) : tf.matMul(normal_RD, p('head'));
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
  const attention_RD = selfAttention(attentionInput_RD, scope(p, 'attention'), config, context, layer);
  const afterAttention_RD = tf.add(x_RD, attention_RD);
  const feedForwardInput_RD = rmsNorm(afterAttention_RD, p('feedForwardNorm'), config.normEpsilon);
  const feedForward_RD =
    context.moe !== undefined && isMoeLayer(config.moe, layer)
      ? context.moe.feedForward(layer, feedForwardInput_RD, p(ROUTER))
      : swiglu(feedForwardInput_RD, scope(p, 'feedForward'));
  return tf.add(afterAttention_RD, feedForward_RD);
}

function attentionParameters(config: DecoderConfig): readonly ParameterSpec[] {
  const { width, heads, keyValueHeads, headWidth, depth, qkNorm, qkvBias } = config;
  const queries = heads * headWidth;
  const keys = keyValueHeads * headWidth;
  return [
    weight('query', [width, queries], ['embed', 'heads']),
    weight('key', [width, keys], ['embed', 'heads']),
    weight('value', [width, keys], ['embed', 'heads']),
    ...(qkvBias ? [bias('queryBias', queries, 'heads'), bias('keyBias', keys, 'heads')] : []),
    ...(qkvBias ? [bias('valueBias', keys, 'heads')] : []),
    ...(qkNorm ? [normScale('queryNorm', headWidth), normScale('keyNorm', headWidth)] : []),
    weight('output', [queries, width], ['heads', 'embed'], residualStddev(depth)),
  ];
}

/** Causal self-attention with grouped queries and rotary positions; `qkNorm` (Henry et al., 2020) bounds the scores. */
function selfAttention(
  x_RD: tf.Tensor,
  p: Parameters,
  config: DecoderConfig,
  context: BlockContext,
  layer: number,
): tf.Tensor {
  const { heads, keyValueHeads, qkNorm, qkvBias, normEpsilon } = config;
  const project = (name: string, count: number) => {
    const y_RC = tf.matMul(x_RD, p(name));
    return splitHeads(qkvBias ? tf.add(y_RC, p(`${name}Bias`)) : y_RC, context.batch, count);
  };
  const q_BTHC = project('query', heads);
  const k_BTJC = project('key', keyValueHeads);
  const v_BTJC = project('value', keyValueHeads);
  // Per head, and before the rotation: a learned scale per channel would not commute with it.
  const position = (x: tf.Tensor, norm: string) =>
    rotate(qkNorm ? rmsNorm(x, p(norm), normEpsilon) : x, context.rotary);
  // Values carry no position: what is read does not depend on where it stood.
  const read_BTHC = context.attend(layer, position(q_BTHC, 'queryNorm'), position(k_BTJC, 'keyNorm'), v_BTJC);
  return tf.matMul(joinHeads(read_BTHC), p('output'));
}
