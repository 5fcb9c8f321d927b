// Legend: N images, S pixels a side, C colours, P patches of one image (G a side), Q pixels of a patch's side,
// R = N·P rows, W width.
import type { VisionConfig } from '@weft/config';
import { attention, tf } from '@weft/tensor';
import { joinHeads, splitHeads } from './attention.js';
import { layerNorm, layerNormParameters } from './norms.js';
import { linear, linearParameters, sizes } from './ops.js';
import {
  applyLayers,
  type ParameterSpec,
  type Parameters,
  positionTable,
  prefix,
  prefixLayers,
  residualStddev,
  scope,
  weight,
} from './parameters.js';

/** Red, green and blue. */
const COLOURS = 3;
/** As in CLIP. */
const NORM_EPSILON = 1e-5;

/** The parameters of `visionEncoder`, in the order in which it uses them. */
export function visionEncoderParameters(vision: VisionConfig): readonly ParameterSpec[] {
  const { width, depth, patchSize } = vision;
  return [
    ...prefix('patch', linearParameters(patchSize * patchSize * COLOURS, width, [null, 'embed'])),
    positionTable('positions', [patchGrid(vision) ** 2, width]),
    ...prefixLayers(depth, () => blockParameters(vision)),
    ...prefix('norm', layerNormParameters(width)),
  ];
}

/**
 * A vision transformer (ViT, Dosovitskiy et al., 2021) in CLIP's shape (Radford et al., 2021). It has no class token,
 * because the connector reads the whole grid of patches. Images do not see each other.
 * @param images_NSSC pixels scaled to [−1, 1]
 * @returns the features of all patches, row by row, [N·G², W]
 */
export function visionEncoder(images_NSSC: tf.Tensor, p: Parameters, vision: VisionConfig): tf.Tensor {
  const [count] = sizes(images_NSSC, 4);
  // Each patch becomes one vector: its pixels, mapped linearly.
  const embedded_RW = linear(patches(images_NSSC, vision.patchSize), scope(p, 'patch'));
  // Attention alone cannot tell where a patch lies, so each of the grid's patches gets a learned vector added.
  const positioned_NPW = tf.add(tf.reshape(embedded_RW, [count, patchGrid(vision) ** 2, vision.width]), p('positions'));
  const x_RW = tf.reshape(positioned_NPW, embedded_RW.shape);
  const y_RW = applyLayers(x_RW, p, vision.depth, (x, layer) => block(x, layer, vision, count));
  // Pre-norm blocks leave the residual stream unnormalised; the connector gets it normalised.
  return layerNorm(y_RW, scope(p, 'norm'), NORM_EPSILON);
}

/** Patches along one side of the image. */
export function patchGrid(vision: VisionConfig): number {
  return vision.imageSize / vision.patchSize;
}

/**
 * Cuts images into square patches, row by row from the top left: [N, S, S, C] → [N·G², Q·Q·C].
 * A matrix product with the rows is then the strided convolution of other implementations.
 * @param patchSize Q, divides S
 */
export function patches(images_NSSC: tf.Tensor, patchSize: number): tf.Tensor {
  const [count, size, , colours] = sizes(images_NSSC, 4);
  const grid = size / patchSize;
  const cut_NGQGQC = tf.reshape(images_NSSC, [count, grid, patchSize, grid, patchSize, colours]);
  const patches_NGGQQC = tf.transpose(cut_NGQGQC, [0, 1, 3, 2, 4, 5]);
  return tf.reshape(patches_NGGQQC, [count * grid * grid, patchSize * patchSize * colours]);
}

function blockParameters({ width, depth, feedForwardWidth }: VisionConfig): readonly ParameterSpec[] {
  return [
    ...prefix('attentionNorm', layerNormParameters(width)),
    ...prefix('attention/query', linearParameters(width, width, ['embed', 'heads'])),
    weight('attention/key', [width, width], ['embed', 'heads']),
    ...prefix('attention/value', linearParameters(width, width, ['embed', 'heads'])),
    ...prefix('attention/output', linearParameters(width, width, ['heads', 'embed'], residualStddev(depth))),
    ...prefix('feedForwardNorm', layerNormParameters(width)),
    ...prefix('feedForward/up', linearParameters(width, feedForwardWidth, ['embed', 'mlp'])),
    ...prefix('feedForward/down', linearParameters(feedForwardWidth, width, ['mlp', 'embed'], residualStddev(depth))),
  ];
}

/**
 * A pre-norm transformer block: x + attention(norm(x)), then the same with a feed-forward network. Patches exchange
 * information in the attention; the feed-forward works on each patch alone.
 */
function block(x_RW: tf.Tensor, p: Parameters, { heads }: VisionConfig, count: number): tf.Tensor {
  const attentionInput_RW = layerNorm(x_RW, scope(p, 'attentionNorm'), NORM_EPSILON);
  const q_RW = linear(attentionInput_RW, scope(p, 'attention/query'));
  // Keys have no bias: it would add the same to all scores of a query, which softmax ignores.
  const k_RW = tf.matMul(attentionInput_RW, p('attention/key'));
  const v_RW = linear(attentionInput_RW, scope(p, 'attention/value'));
  // Without a mask: every patch of an image reads every other.
  const read_NPHC = attention(
    splitHeads(q_RW, count, heads),
    splitHeads(k_RW, count, heads),
    splitHeads(v_RW, count, heads),
  );
  const afterAttention_RW = tf.add(x_RW, linear(joinHeads(read_NPHC), scope(p, 'attention/output')));

  const feedForwardInput_RW = layerNorm(afterAttention_RW, scope(p, 'feedForwardNorm'), NORM_EPSILON);
  const hidden = quickGelu(linear(feedForwardInput_RW, scope(p, 'feedForward/up')));
  return tf.add(afterAttention_RW, linear(hidden, scope(p, 'feedForward/down')));
}

/** CLIP's approximation of GELU, x·sigmoid(1.702·x) (Hendrycks and Gimpel, 2016). */
function quickGelu(x: tf.Tensor): tf.Tensor {
  return tf.mul(x, tf.sigmoid(tf.mul(x, 1.702)));
}
