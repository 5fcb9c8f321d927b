// Legend: B batch, T positions, R = B·T rows, D width, H query heads, J key-value heads, C width of one head,
// V vocabulary.
import type { DecoderConfig } from '@weft/config';
import { tf } from '@weft/tensor';
import { attention, splitHeads } from './attention.js';
import { causalSegmentMask } from './causal-mask.js';
import { stackedExperts } from './moe/experts.js';
import { isMoeLayer } from './moe/moe-shape.js';
import { routerParameters, type SparseLayers } from './moe/sparse-layers.js';
import {
  gain,
  inLayers,
  type ParameterSpec,
  type Parameters,
  residualStddev,
  throughLayers,
  under,
  weight,
  within,
} from './parameters.js';
import { rmsNorm } from './rms-norm.js';
import { type RotaryTables, rotaryTables, rotate } from './rope.js';
import { sizes } from './sizes.js';
import { swiglu, swigluParameters } from './swiglu.js';

/** What every layer shares: where the rows stand, which of them may read each other, and the sparse layers. */
interface Layout {
  readonly batch: number;
  readonly mask_B1TT: tf.Tensor;
  readonly rotary: RotaryTables;
  readonly sparse: SparseLayers | undefined;
}

export function decoderParameters(decoder: DecoderConfig): readonly ParameterSpec[] {
  const { vocabularySize, width, depth } = decoder;
  return [
    weight('embedding', [vocabularySize, width]),
    ...inLayers(depth, (layer) => blockParameters(decoder, layer)),
    gain('norm', width),
    weight('head', [width, vocabularySize]),
  ];
}

/**
 * The language model after its embedding: pre-norm blocks of causal attention and SwiGLU, RMSNorm, RoPE, no biases,
 * an output head of its own. Attention never crosses the pieces of a packed sequence.
 * @param x_RD one row per position, as `decoderInput` builds them
 * @param segmentIds_BT the piece every position belongs to, 0 for padding
 * @param positions_BT the position within its piece
 * @param sparse computes the MoE layers of a sparse model
 * @returns the scores of the next token, [R, V]
 */
export function decoder(
  x_RD: tf.Tensor,
  p: Parameters,
  config: DecoderConfig,
  segmentIds_BT: tf.Tensor,
  positions_BT: tf.Tensor,
  sparse?: SparseLayers,
): tf.Tensor2D {
  const [batch] = sizes(segmentIds_BT, 2);
  const layout: Layout = {
    batch,
    mask_B1TT: causalSegmentMask(segmentIds_BT),
    rotary: rotaryTables(positions_BT, config.width / config.heads, config.ropeTheta),
    sparse,
  };
  const y_RD = throughLayers(x_RD, p, config.depth, (x, own, layer) => block(x, own, config, layout, layer));
  return tf.matMul(rmsNorm(y_RD, p('norm'), config.normEpsilon), p('head'));
}

function blockParameters(config: DecoderConfig, layer: number): readonly ParameterSpec[] {
  const { width, depth, feedForwardWidth, moe } = config;
  return [
    gain('attentionNorm', width),
    ...under('attention', attentionParameters(config)),
    gain('feedForwardNorm', width),
    ...(isMoeLayer(moe, layer)
      ? [...routerParameters(width, moe), ...stackedExperts(config, { first: 0, end: moe.experts })]
      : under('feedForward', swigluParameters(width, feedForwardWidth, residualStddev(depth)))),
  ];
}

function block(x_RD: tf.Tensor, p: Parameters, config: DecoderConfig, layout: Layout, layer: number): tf.Tensor {
  const normed_RD = rmsNorm(x_RD, p('attentionNorm'), config.normEpsilon);
  const attended_RD = tf.add(x_RD, selfAttention(normed_RD, within(p, 'attention'), config, layout));
  const normedAgain_RD = rmsNorm(attended_RD, p('feedForwardNorm'), config.normEpsilon);
  const fed_RD =
    layout.sparse !== undefined && isMoeLayer(config.moe, layer)
      ? layout.sparse.feedForward(layer, normedAgain_RD, p('moe/router'))
      : swiglu(normedAgain_RD, within(p, 'feedForward'));
  return tf.add(attended_RD, fed_RD);
}

function attentionParameters({ width, heads, keyValueHeads, depth, qkNorm }: DecoderConfig): readonly ParameterSpec[] {
  const headWidth = width / heads;
  return [
    weight('query', [width, width]),
    weight('key', [width, keyValueHeads * headWidth]),
    weight('value', [width, keyValueHeads * headWidth]),
    ...(qkNorm ? [gain('queryNorm', headWidth), gain('keyNorm', headWidth)] : []),
    weight('output', [width, width], residualStddev(depth)),
  ];
}

/** Causal, grouped-query, rotary attention; with `qkNorm`, queries and keys are normalised per head before they turn. */
function selfAttention(x_RD: tf.Tensor, p: Parameters, config: DecoderConfig, layout: Layout): tf.Tensor {
  const { heads, keyValueHeads, qkNorm, normEpsilon } = config;
  const q_BTHC = splitHeads(tf.matMul(x_RD, p('query')), layout.batch, heads);
  const k_BTJC = splitHeads(tf.matMul(x_RD, p('key')), layout.batch, keyValueHeads);
  const v_BTJC = splitHeads(tf.matMul(x_RD, p('value')), layout.batch, keyValueHeads);
  const placed = (x: tf.Tensor, norm: string) => rotate(qkNorm ? rmsNorm(x, p(norm), normEpsilon) : x, layout.rotary);
  const read_RD = attention(placed(q_BTHC, 'queryNorm'), placed(k_BTJC, 'keyNorm'), v_BTJC, layout.mask_B1TT);
  return tf.matMul(read_RD, p('output'));
}
