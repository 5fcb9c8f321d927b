// Legend: N sequences (the tokens of an image, or of a caption), T tokens of one, R = N·T rows, H heads, C width of one head.
import type { VisionActivation, VisionConfig } from '@weft/config';
import { tf } from '@weft/tensor';
import { joinHeads, splitHeads } from './attention.js';
import { layerNorm, layerNormParameters } from './norms.js';
import { gelu, linear, linearParameters } from './ops.js';
import { bias, type ParameterSpec, type Parameters, prefix, residualStddev, scope, weight } from './parameters.js';

/** The sizes of a block of CLIP's towers, and in which variant it is. */
export type EncoderBlockConfig = Pick<
  VisionConfig,
  'width' | 'depth' | 'heads' | 'feedForwardWidth' | 'keyBias' | 'activation' | 'normEpsilon'
>;

/** Lets queries read: queries, keys and values [N, T, H, C] → what is read, [N, T, H, C]. */
export type Attend = (q_NTHC: tf.Tensor, k_NTHC: tf.Tensor, v_NTHC: tf.Tensor) => tf.Tensor;

/** The parameters of `encoderBlock`. */
export function encoderBlockParameters(
  block: Pick<EncoderBlockConfig, 'width' | 'depth' | 'feedForwardWidth' | 'keyBias'>,
): readonly ParameterSpec[] {
  const { width, depth, feedForwardWidth, keyBias } = block;
  return [
    ...prefix('attentionNorm', layerNormParameters(width)),
    ...prefix('attention/query', linearParameters(width, width, ['embed', 'heads'])),
    weight('attention/key', [width, width], ['embed', 'heads']),
    ...(keyBias ? [bias('attention/keyBias', width, 'heads')] : []),
    ...prefix('attention/value', linearParameters(width, width, ['embed', 'heads'])),
    ...prefix('attention/output', linearParameters(width, width, ['heads', 'embed'], residualStddev(depth))),
    ...prefix('feedForwardNorm', layerNormParameters(width)),
    ...prefix('feedForward', feedForwardParameters(width, feedForwardWidth, residualStddev(depth))),
  ];
}

/** The parameters of `feedForward`. */
export function feedForwardParameters(width: number, hidden: number, downStddev: number): readonly ParameterSpec[] {
  return [
    ...prefix('up', linearParameters(width, hidden, ['embed', 'mlp'])),
    ...prefix('down', linearParameters(hidden, width, ['mlp', 'embed'], downStddev)),
  ];
}

/**
 * A pre-norm transformer block with LayerNorm: x + attention(norm(x)), then the same with a feed-forward network. Tokens
 * exchange information in the attention; the feed-forward works on each token alone.
 * @param count N
 */
export function encoderBlock(
  x_RW: tf.Tensor,
  p: Parameters,
  config: EncoderBlockConfig,
  count: number,
  attend: Attend,
): tf.Tensor {
  const { heads, keyBias, activation, normEpsilon } = config;
  const attentionInput_RW = layerNorm(x_RW, scope(p, 'attentionNorm'), normEpsilon);
  const q_RW = linear(attentionInput_RW, scope(p, 'attention/query'));
  // Keys need no bias: it adds the same to all scores of a query, which softmax ignores. Some encoders have one.
  const unbiased_RW = tf.matMul(attentionInput_RW, p('attention/key'));
  const k_RW = keyBias ? tf.add(unbiased_RW, p('attention/keyBias')) : unbiased_RW;
  const v_RW = linear(attentionInput_RW, scope(p, 'attention/value'));
  const read_NTHC = attend(
    splitHeads(q_RW, count, heads),
    splitHeads(k_RW, count, heads),
    splitHeads(v_RW, count, heads),
  );
  const afterAttention_RW = tf.add(x_RW, linear(joinHeads(read_NTHC), scope(p, 'attention/output')));

  const feedForwardInput_RW = layerNorm(afterAttention_RW, scope(p, 'feedForwardNorm'), normEpsilon);
  return tf.add(afterAttention_RW, feedForward(feedForwardInput_RW, scope(p, 'feedForward'), activation));
}

/** A perceptron with one hidden layer, on rows. */
export function feedForward(x_RW: tf.Tensor, p: Parameters, activation: VisionActivation): tf.Tensor {
  const up = linear(x_RW, scope(p, 'up'));
  return linear(activation === 'gelu' ? gelu(up) : quickGelu(up), scope(p, 'down'));
}

/** CLIP's approximation of GELU, x·sigmoid(1.702·x) (Hendrycks and Gimpel, 2016). */
function quickGelu(x: tf.Tensor): tf.Tensor {
  return tf.mul(x, tf.sigmoid(tf.mul(x, 1.702)));
}
