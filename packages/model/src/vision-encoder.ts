// Legend: N images, S pixels a side, P patches of one image (G a side), R = N·P rows, W width.
import type { VisionConfig } from '@weft/config';
import { tf } from '@weft/tensor';
import { attention, splitHeads } from './attention.js';
import { layerNorm, layerNormParameters } from './layer-norm.js';
import { linear, linearParameters } from './linear.js';
import {
  type ParameterSpec,
  type Parameters,
  positionTable,
  repeated,
  residualStddev,
  throughLayers,
  under,
  weight,
  within,
} from './parameters.js';
import { patches } from './patches.js';
import { sizes } from './sizes.js';

/** Red, green and blue. */
const COLOURS = 3;
/** As in CLIP. */
const NORM_EPSILON = 1e-5;

/** Patches along one side of the image. */
export function patchGrid(vision: VisionConfig): number {
  return vision.imageSize / vision.patchSize;
}

export function visionEncoderParameters(vision: VisionConfig): readonly ParameterSpec[] {
  const { width, depth, patchSize } = vision;
  return [
    ...under('patch', linearParameters(patchSize * patchSize * COLOURS, width)),
    positionTable('positions', [patchGrid(vision) ** 2, width]),
    ...repeated(depth, blockParameters(vision)),
    ...under('norm', layerNormParameters(width)),
  ];
}

/**
 * A vision transformer (Dosovitskiy et al., 2021) in CLIP's shape: patch embedding, learned positions, pre-norm
 * blocks, a last norm; without a class token, because the connector reads the whole grid.
 * Every image is encoded by itself.
 * @param images_NSSC pixels scaled to [−1, 1]
 * @returns the features of all patches, row by row, [N·G², W]
 */
export function visionEncoder(images_NSSC: tf.Tensor, p: Parameters, vision: VisionConfig): tf.Tensor {
  const [count] = sizes(images_NSSC, 4);
  const embedded_RW = linear(patches(images_NSSC, vision.patchSize), within(p, 'patch'));
  const placed_NPW = tf.add(tf.reshape(embedded_RW, [count, patchGrid(vision) ** 2, vision.width]), p('positions'));
  const x_RW = tf.reshape(placed_NPW, embedded_RW.shape);
  const y_RW = throughLayers(x_RW, p, vision.depth, (x, layer) => block(x, layer, vision, count));
  return layerNorm(y_RW, within(p, 'norm'), NORM_EPSILON);
}

function blockParameters({ width, depth, feedForwardWidth }: VisionConfig): readonly ParameterSpec[] {
  return [
    ...under('attentionNorm', layerNormParameters(width)),
    ...under('attention/query', linearParameters(width, width)),
    weight('attention/key', [width, width]),
    ...under('attention/value', linearParameters(width, width)),
    ...under('attention/output', linearParameters(width, width, residualStddev(depth))),
    ...under('feedForwardNorm', layerNormParameters(width)),
    ...under('feedForward/up', linearParameters(width, feedForwardWidth)),
    ...under('feedForward/down', linearParameters(feedForwardWidth, width, residualStddev(depth))),
  ];
}

function block(x_RW: tf.Tensor, p: Parameters, { heads }: VisionConfig, count: number): tf.Tensor {
  const normed_RW = layerNorm(x_RW, within(p, 'attentionNorm'), NORM_EPSILON);
  const q_RW = linear(normed_RW, within(p, 'attention/query'));
  // Keys have no bias: it would add the same to all scores of a query, which softmax ignores.
  const k_RW = tf.matMul(normed_RW, p('attention/key'));
  const v_RW = linear(normed_RW, within(p, 'attention/value'));
  const read_RW = attention(
    splitHeads(q_RW, count, heads),
    splitHeads(k_RW, count, heads),
    splitHeads(v_RW, count, heads),
  );
  const attended_RW = tf.add(x_RW, linear(read_RW, within(p, 'attention/output')));

  const normedAgain_RW = layerNorm(attended_RW, within(p, 'feedForwardNorm'), NORM_EPSILON);
  const hidden = quickGelu(linear(normedAgain_RW, within(p, 'feedForward/up')));
  return tf.add(attended_RW, linear(hidden, within(p, 'feedForward/down')));
}

/** CLIP's approximation of GELU, x·sigmoid(1.702·x) (Hendrycks and Gimpel, 2016). */
function quickGelu(x: tf.Tensor): tf.Tensor {
  return tf.mul(x, tf.sigmoid(tf.mul(x, 1.702)));
}
