// Legend: B batch, T positions, R = B·T rows, D width, H query heads, J key-value heads, C width of one head,
// V vocabulary.
import type { DecoderConfig } from '@weft/config';
import { tf } from '@weft/engine';
import { attention, splitHeads } from './attention.js';
import { causalSegmentMask } from './causal-mask.js';
import {
  gain,
  type ParameterSpec,
  type Parameters,
  repeated,
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

/** What every layer shares: where the rows stand and which of them may read each other. */
interface Layout {
  readonly batch: number;
  readonly mask_B1TT: tf.Tensor;
  readonly rotary: RotaryTables;
}

export function decoderParameters(decoder: DecoderConfig): readonly ParameterSpec[] {
  const { vocabularySize, width, depth } = decoder;
  return [
    weight('embedding', [vocabularySize, width]),
    ...repeated(depth, blockParameters(decoder)),
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
 * @returns the scores of the next token, [R, V]
 */
export function decoder(
  x_RD: tf.Tensor,
  p: Parameters,
  config: DecoderConfig,
  segmentIds_BT: tf.Tensor,
  positions_BT: tf.Tensor,
): tf.Tensor2D {
  const [batch] = sizes(segmentIds_BT, 2);
  const layout: Layout = {
    batch,
    mask_B1TT: causalSegmentMask(segmentIds_BT),
    rotary: rotaryTables(positions_BT, config.width / config.heads, config.ropeTheta),
  };
  const y_RD = throughLayers(x_RD, p, config.depth, (x, layer) => block(x, layer, config, layout));
  return tf.matMul(rmsNorm(y_RD, p('norm'), config.normEpsilon), p('head'));
}

function blockParameters(config: DecoderConfig): readonly ParameterSpec[] {
  const { width, depth, feedForwardWidth } = config;
  return [
    gain('attentionNorm', width),
    ...under('attention', attentionParameters(config)),
    gain('feedForwardNorm', width),
    ...under('feedForward', swigluParameters(width, feedForwardWidth, residualStddev(depth))),
  ];
}

function block(x_RD: tf.Tensor, p: Parameters, config: DecoderConfig, layout: Layout): tf.Tensor {
  const normed_RD = rmsNorm(x_RD, p('attentionNorm'), config.normEpsilon);
  const attended_RD = tf.add(x_RD, selfAttention(normed_RD, within(p, 'attention'), config, layout));
  const normedAgain_RD = rmsNorm(attended_RD, p('feedForwardNorm'), config.normEpsilon);
  return tf.add(attended_RD, swiglu(normedAgain_RD, within(p, 'feedForward')));
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
