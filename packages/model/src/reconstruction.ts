// Legend: N images, P patches of one image, K = P − 1 of them that may be predicted, Q elements of a patch, W vision width,
// D head width, R rows.
import type { ReconstructiveTaskConfig, VisionConfig } from '@weft/config';
import { attention, itemAt, readablePositions, tf } from '@weft/tensor';
import { type Attend, feedForward, feedForwardParameters } from './encoder-block.js';
import { layerNorm, layerNormParameters } from './norms.js';
import { linear, linearParameters, sizes } from './ops.js';
import {
  applyLayers,
  type ParameterSpec,
  type Parameters,
  prefix,
  prefixLayers,
  residualStddev,
  scope,
} from './parameters.js';
import { patches, patchGrid, visionEncoderParameters, visionNorm, visionTokens } from './vision-encoder.js';

/** How much wider the head's perceptrons are in their middle. */
const HEAD_EXPANSION = 4;
/** Added to the variance of a patch's pixels before they are divided by its root, as in masked autoencoders. */
const TARGET_EPSILON = 1e-6;

/** The encoder as `vision/…`, and the head that predicts pixels as `head/…`. */
export function reconstructionParameters(
  vision: VisionConfig,
  { headWidth, headDepth }: ReconstructiveTaskConfig,
): readonly ParameterSpec[] {
  const { width, patchSize } = vision;
  const hidden = HEAD_EXPANSION * headWidth;
  return [
    ...prefix('vision', visionEncoderParameters(vision)),
    ...prefix('head/input', linearParameters(width, headWidth, ['embed', null])),
    ...prefix(
      'head',
      prefixLayers(headDepth, () => [
        ...prefix('norm', layerNormParameters(headWidth)),
        ...prefix('feedForward', feedForwardParameters(headWidth, hidden, residualStddev(headDepth))),
      ]),
    ),
    ...prefix('head/norm', layerNormParameters(headWidth)),
    ...prefix('head/output', linearParameters(headWidth, patchSize * patchSize * 3, ['embed', null])),
  ];
}

/**
 * The loss of AIM (El-Nouby et al., 2024): from every patch, and those it reads, the next one in rows from the top left is
 * predicted. Patches of the prefix read each other and are not predicted; all others read those before them too. What is
 * predicted are the patch's pixels, less their mean and divided by their deviation.
 * @param images_NSSC pixels, normalised as the encoder expects them
 * @param prefixLength_N int32, from 1; P: nothing of the image is predicted
 * @returns the sum over predicted patches of the mean squared error of their pixels
 */
export function reconstructionLoss(
  { vision, task }: { readonly vision: VisionConfig; readonly task: ReconstructiveTaskConfig },
  parameter: Parameters,
  { images_NSSC, prefixLength_N }: { readonly images_NSSC: tf.Tensor; readonly prefixLength_N: tf.Tensor },
): tf.Scalar {
  const [count] = sizes(images_NSSC, 4);
  const cells = patchGrid(vision) ** 2;
  const p = scope(parameter, 'vision');
  const attend = prefixAttention(prefixLength_N, cells);
  const features_RW = visionNorm(visionTokens(images_NSSC, p, vision, attend), p, vision);
  const features_NKW = withoutPatch(features_RW, count, cells, 'last');
  const predicted_RQ = predictPatches(tf.reshape(features_NKW, [-1, vision.width]), scope(parameter, 'head'), {
    vision,
    task,
  });
  const targets_NKQ = withoutPatch(normalisedPatches(patches(images_NSSC, vision.patchSize)), count, cells, 'first');
  const width = itemAt(targets_NKQ.shape, 2);
  const squared_RQ = tf.square(tf.sub(predicted_RQ, tf.reshape(targets_NKQ, [-1, width])));
  // A product with a vector, because tfjs differentiates a mean with a constant as large as its input.
  const error_R1 = tf.matMul(squared_RQ, tf.fill([width, 1], 1 / width));
  return tf.sum(tf.mul(tf.reshape(error_R1, [count, cells - 1]), isPredicted(prefixLength_N, cells)));
}

/** How many patches the images have predicted, together: a scalar. */
export function predictedPatches(prefixLength_N: tf.Tensor, vision: VisionConfig): tf.Scalar {
  return tf.sum(isPredicted(prefixLength_N, patchGrid(vision) ** 2));
}

/** [N, K]: 1 where patch k + 1 is predicted from patch k. */
function isPredicted(prefixLength_N: tf.Tensor, cells: number): tf.Tensor {
  const next_1K = tf.tensor2d(
    Float32Array.from({ length: cells - 1 }, (_, k) => k + 1),
    [1, cells - 1],
  );
  return tf.cast(tf.greaterEqual(next_1K, prefixColumn(prefixLength_N)), 'float32');
}

/**
 * Causal attention, but for the first patches of every image, which all read each other. Both kinds are what engines
 * fuse, and attention is a small part of an encoder; so both are computed, and every patch takes its own.
 */
function prefixAttention(prefixLength_N: tf.Tensor, cells: number): Attend {
  const position_1P = tf.tensor2d(
    Float32Array.from({ length: cells }, (_, position) => position),
    [1, cells],
  );
  const isPrefix_NP = tf.cast(tf.less(position_1P, prefixColumn(prefixLength_N)), 'float32');
  const within = readablePositions(false, isPrefix_NP);
  const isPrefix_NP11 = tf.reshape(isPrefix_NP, [-1, cells, 1, 1]);
  const isOther_NP11 = tf.sub(1, isPrefix_NP11);
  return (q, k, v) =>
    tf.add(
      tf.mul(attention(q, k, v, within), isPrefix_NP11),
      tf.mul(attention(q, k, v, { causal: true }), isOther_NP11),
    );
}

/** As float32, which engines compare on their device. */
function prefixColumn(prefixLength_N: tf.Tensor): tf.Tensor {
  return tf.cast(tf.reshape(prefixLength_N, [-1, 1]), 'float32');
}

/** [N·P, C] → [N, K, C]: all patches of every image but one. */
function withoutPatch(x_RC: tf.Tensor, count: number, cells: number, left: 'first' | 'last'): tf.Tensor {
  const parts = left === 'first' ? [1, cells - 1] : [cells - 1, 1];
  const split = tf.split(tf.reshape(x_RC, [count, cells, itemAt(x_RC.shape, 1)]), parts, 1);
  return itemAt(split, left === 'first' ? 1 : 0);
}

/** Every patch by itself: its elements less their mean, over their deviation. */
function normalisedPatches(pixels_RQ: tf.Tensor): tf.Tensor {
  const centred_RQ = tf.sub(pixels_RQ, tf.mean(pixels_RQ, 1, true));
  const variance_R1 = tf.mean(tf.square(centred_RQ), 1, true);
  return tf.mul(centred_RQ, tf.rsqrt(tf.add(variance_R1, TARGET_EPSILON)));
}

/** AIM's head: perceptrons on every patch alone, with residuals, and a linear map to pixels. [R, W] → [R, Q] */
function predictPatches(
  features_RW: tf.Tensor,
  p: Parameters,
  { vision, task }: { readonly vision: VisionConfig; readonly task: ReconstructiveTaskConfig },
): tf.Tensor {
  const { normEpsilon, activation } = vision;
  const hidden_RD = applyLayers(linear(features_RW, scope(p, 'input')), p, task.headDepth, (x_RD, own) =>
    tf.add(x_RD, feedForward(layerNorm(x_RD, scope(own, 'norm'), normEpsilon), scope(own, 'feedForward'), activation)),
  );
  return linear(layerNorm(hidden_RD, scope(p, 'norm'), normEpsilon), scope(p, 'output'));
}
