// Legend: N pairs of a microbatch, M pairs of the step, T positions of a caption, W vision width, E embedding width,
// F = 2·E: the features of an image, then those of its caption.
import { type ContrastiveTaskConfig, MAX_SCALE, type ModelConfig } from '@weft/config';
import { itemAt, tf } from '@weft/tensor';
import { attentionPool, attentionPoolParameters } from './connector.js';
import { sizes, stopGradient, takeRows } from './ops.js';
import { type ParameterSpec, type Parameters, prefix, scope, weight } from './parameters.js';
import { textTower, textTowerParameters } from './text-tower.js';
import { patchGrid, splitTokens, visionEncoderParameters, visionNorm, visionTokens } from './vision-encoder.js';

/** The learned logarithm of what similarities are multiplied by, a scalar. */
export const LOG_SCALE = 'logScale';

/** Model and task of a contrastive run. */
export interface ContrastiveConfig {
  readonly model: Pick<ModelConfig, 'vision' | 'sequenceLength'>;
  readonly task: ContrastiveTaskConfig;
}

/** The arrays of a microbatch of pairs. */
export interface PairBatch {
  /** Pixels, normalised as the encoder expects them. */
  readonly images_NHWC: tf.Tensor;
  readonly tokenIds_NT: tf.Tensor;
  /** 1 at the end of every caption, 0 elsewhere and where there is no pair. */
  readonly isEnd_NT: tf.Tensor;
}

/** The image tower as `vision/…`, its projection or pool, the text tower as `text/…`, and the scale. */
export function contrastiveParameters({ model, task }: ContrastiveConfig): readonly ParameterSpec[] {
  const { vision, sequenceLength } = model;
  const { embeddingWidth, pooling, text, initialScale } = task;
  const scale: ParameterSpec = {
    name: LOG_SCALE,
    shape: [],
    axes: [],
    init: { kind: 'constant', value: Math.log(initialScale) },
    weightDecay: false,
  };
  return [
    ...prefix('vision', visionEncoderParameters(vision)),
    ...(pooling === 'classToken'
      ? [weight('imageProjection', [vision.width, embeddingWidth], ['embed', null], vision.width ** -0.5)]
      : prefix('imagePool', attentionPoolParameters(1, vision.width, embeddingWidth))),
    ...prefix('text', textTowerParameters(text, sequenceLength, embeddingWidth)),
    scale,
  ];
}

/** The features of pairs, vectors of length 1: [N, F]. */
export function pairFeatures({ model, task }: ContrastiveConfig, parameter: Parameters, batch: PairBatch): tf.Tensor {
  const image_NE = pooledImages(batch.images_NHWC, parameter, model.vision, task);
  const text_NE = textTower(batch.tokenIds_NT, batch.isEnd_NT, scope(parameter, 'text'), task.text);
  return tf.concat([unitRows(image_NE), unitRows(text_NE)], 1);
}

function pooledImages(
  images_NHWC: tf.Tensor,
  parameter: Parameters,
  vision: ModelConfig['vision'],
  { pooling }: ContrastiveTaskConfig,
): tf.Tensor {
  const [count] = sizes(images_NHWC, 4);
  const p = scope(parameter, 'vision');
  const { classToken_NW, patches_RW } = splitTokens(visionTokens(images_NHWC, p, vision), count, vision);
  if (pooling === 'classToken' && classToken_NW !== undefined)
    return tf.matMul(visionNorm(classToken_NW, p, vision), parameter('imageProjection'));
  const features_RW = visionNorm(patches_RW, p, vision);
  const features_NPW = tf.reshape(features_RW, [count, patchGrid(vision) ** 2, vision.width]);
  return attentionPool(features_NPW, scope(parameter, 'imagePool'), vision);
}

/** Rows of length 1; a row of zeros, which stands for no pair, stays one. */
function unitRows(x_NE: tf.Tensor): tf.Tensor {
  return tf.mul(x_NE, tf.rsqrt(tf.add(tf.sum(tf.square(x_NE), 1, true), 1e-12)));
}

/**
 * Of every pair of a microbatch, the logarithms of the sums of exp(scaled similarity): of its image to all captions of the
 * step, and of its caption to all images, [N, 2].
 * @param features_MF of all pairs of the step
 * @param rows_N which of them are those of the microbatch; −1: none
 */
export function pairNormalisers(features_MF: tf.Tensor, rows_N: tf.Tensor, logScale: tf.Tensor): tf.Tensor {
  const all = towers(features_MF);
  const own = towers(takeRows(features_MF, rows_N));
  const scale = scaleOf(logScale);
  return tf.concat(
    [logSumExp(similarities(own.image, all.text, scale)), logSumExp(similarities(own.text, all.image, scale))],
    1,
  );
}

/** What `contrast` gives; sums over the pairs of the microbatch. */
export interface Contrast {
  /** Its gradient is that of the loss of the whole step, as far as it flows through this microbatch. Its value means nothing. */
  readonly objective: tf.Scalar;
  /** Of each pair the mean of both cross-entropies. */
  readonly lossSum: tf.Scalar;
  /** `CONTRAST_STATS` elements. */
  readonly stats: tf.Tensor;
}

/** How many images are nearest to their own caption, how many captions to their own image, and the scale once a pair. */
export const CONTRAST_STATS = 3;

/**
 * CLIP's loss over all pairs of a step, as one microbatch sees it. With v and t the features of a pair and s the scale,
 *
 *     L = Σᵢ ½·(ln Σⱼ exp(s·vᵢ·tⱼ) + ln Σⱼ exp(s·tᵢ·vⱼ)) − s·vᵢ·tᵢ
 *     ∂L/∂vᵢ = s·(Σⱼ ½·(Pᵢⱼ + Qᵢⱼ)·tⱼ − tᵢ),   Pᵢⱼ = exp(s·vᵢ·tⱼ)/Σₖ exp(s·vᵢ·tₖ),   Qᵢⱼ = exp(s·vᵢ·tⱼ)/Σₖ exp(s·vₖ·tⱼ)
 *
 * and the same for t. The sums are the normalisers, which are known before; so the gradients of the features are, and what
 * is differentiated is their product with the features (gradient caching, Gao et al., 2021). The gradient of ln s is
 * Σᵢ vᵢ·∂L/∂vᵢ. Memory grows with N·M, and with the activations of N pairs.
 *
 * @param own_NF features that are differentiated
 * @param shared those of the step, and its normalisers [M, 2], which are constants
 * @param rows_N which pairs of the step these are; −1: none
 */
export function contrast(
  own_NF: tf.Tensor,
  shared: { readonly features_MF: tf.Tensor; readonly normalisers_M2: tf.Tensor },
  rows_N: tf.Tensor,
  logScale: tf.Tensor,
): Contrast {
  const { features_MF, normalisers_M2 } = shared;
  const [pairs] = sizes(features_MF, 2);
  const all = towers(features_MF);
  const fixed = stopped(own_NF);
  const scale = scaleOf(stopped(logScale));
  const rows_N1 = tf.cast(tf.reshape(rows_N, [-1, 1]), 'float32');
  const isPair_N1 = tf.cast(tf.greaterEqual(rows_N1, 0), 'float32');
  const isOwn_NM = tf.cast(tf.equal(rows_N1, range(pairs)), 'float32');
  const [image, text] = [0, 1] as const;
  const ownNormalisers_N2 = stopGradient(() => takeRows(normalisers_M2, rows_N));
  const side = (own: tf.Tensor, others: tf.Tensor, partner: tf.Tensor, at: 0 | 1) =>
    oneSide({ own, others, partner }, scale, {
      own: column(ownNormalisers_N2, at),
      others: tf.reshape(column(normalisers_M2, at === 0 ? 1 : 0), [1, pairs]),
      isOwn_NM,
      isPair_N1,
    });
  const features = towers(fixed);
  const ofImages = side(features.image, all.text, features.text, image);
  const ofTexts = side(features.text, all.image, features.image, text);
  const gradient_NF = stopGradient(() => tf.concat([ofImages.gradient, ofTexts.gradient], 1));
  const ofLogScale = stopGradient(() => tf.sum(tf.mul(features.image, ofImages.gradient)));
  const objective: tf.Scalar = tf.add(tf.sum(tf.mul(own_NF, gradient_NF)), tf.mul(logScale, ofLogScale));
  const lossSum: tf.Scalar = tf.mul(tf.add(ofImages.lossSum, ofTexts.lossSum), 0.5);
  const scaleSum = tf.mul(scale, tf.sum(isPair_N1));
  return { objective, lossSum, stats: stack([ofImages.correct, ofTexts.correct, scaleSum]) };
}

interface Side {
  /** ∂L/∂own, [N, E]; zeros where there is no pair. */
  readonly gradient: tf.Tensor;
  /** Of the cross-entropies of this side. */
  readonly lossSum: tf.Scalar;
  /** How many are most alike to their partner. */
  readonly correct: tf.Scalar;
}

/** One of both cross-entropies, and the gradient of both with respect to the features of this side. */
function oneSide(
  { own, others, partner }: { readonly own: tf.Tensor; readonly others: tf.Tensor; readonly partner: tf.Tensor },
  scale: tf.Tensor,
  known: {
    readonly own: tf.Tensor;
    readonly others: tf.Tensor;
    readonly isOwn_NM: tf.Tensor;
    readonly isPair_N1: tf.Tensor;
  },
): Side {
  const { isOwn_NM, isPair_N1 } = known;
  const similarity_NM = similarities(own, others, scale);
  const weights_NM = tf.add(tf.exp(tf.sub(similarity_NM, known.own)), tf.exp(tf.sub(similarity_NM, known.others)));
  const pulled_NE = tf.sub(tf.mul(tf.matMul(weights_NM, others), 0.5), partner);
  const ofPartner_N1 = tf.sum(tf.mul(similarity_NM, isOwn_NM), 1, true);
  const isBest_N1 = tf.cast(tf.greaterEqual(ofPartner_N1, tf.max(similarity_NM, 1, true)), 'float32');
  return {
    gradient: tf.mul(tf.mul(pulled_NE, scale), isPair_N1),
    lossSum: tf.sum(tf.mul(tf.sub(known.own, ofPartner_N1), isPair_N1)),
    correct: tf.sum(tf.mul(isBest_N1, isPair_N1)),
  };
}

/** CLIP's loss over the pairs of one microbatch alone, for an evaluation: nothing of it is differentiated. */
export function contrastWithin(features_NF: tf.Tensor, isPair_N: tf.Tensor, logScale: tf.Tensor): Contrast {
  const [pairs] = sizes(features_NF, 2);
  const { image, text } = towers(features_NF);
  const scale = scaleOf(logScale);
  const isPair_N1 = tf.reshape(isPair_N, [pairs, 1]);
  // Rows without a pair are nobody's rivals.
  const masked_1N = tf.mul(tf.sub(tf.reshape(isPair_N, [1, pairs]), 1), 1e9);
  const isOwn_NN = tf.cast(tf.equal(tf.reshape(range(pairs), [pairs, 1]), range(pairs)), 'float32');
  const sides = [similarities(image, text, scale), similarities(text, image, scale)].map((similarity_NN) => {
    const rivals_NN = tf.add(similarity_NN, masked_1N);
    const ofPartner_N1 = tf.sum(tf.mul(similarity_NN, isOwn_NN), 1, true);
    const isBest_N1 = tf.cast(tf.greaterEqual(ofPartner_N1, tf.max(rivals_NN, 1, true)), 'float32');
    return {
      lossSum: tf.sum(tf.mul(tf.sub(logSumExp(rivals_NN), ofPartner_N1), isPair_N1)),
      correct: tf.sum(tf.mul(isBest_N1, isPair_N1)),
    };
  });
  const [ofImages, ofTexts] = [itemAt(sides, 0), itemAt(sides, 1)];
  const lossSum: tf.Scalar = tf.mul(tf.add(ofImages.lossSum, ofTexts.lossSum), 0.5);
  const scaleSum = tf.mul(scale, tf.sum(isPair_N1));
  return { objective: lossSum, lossSum, stats: stack([ofImages.correct, ofTexts.correct, scaleSum]) };
}

/** What similarities are multiplied by. */
function scaleOf(logScale: tf.Tensor): tf.Tensor {
  return tf.minimum(tf.exp(logScale), MAX_SCALE);
}

/** [N, F] → the features of images and of captions, [N, E] each. */
function towers(features_NF: tf.Tensor): { readonly image: tf.Tensor; readonly text: tf.Tensor } {
  const parts = tf.split(features_NF, 2, 1);
  return { image: itemAt(parts, 0), text: itemAt(parts, 1) };
}

function similarities(left_NE: tf.Tensor, right_ME: tf.Tensor, scale: tf.Tensor): tf.Tensor {
  return tf.mul(tf.matMul(left_NE, right_ME, false, true), scale);
}

/** ln Σ exp over the last axis, [N, 1]. */
function logSumExp(x_NM: tf.Tensor): tf.Tensor {
  const max_N1 = tf.max(x_NM, 1, true);
  return tf.add(max_N1, tf.log(tf.sum(tf.exp(tf.sub(x_NM, max_N1)), 1, true)));
}

function column(x_N2: tf.Tensor, at: 0 | 1): tf.Tensor {
  return itemAt(tf.split(x_N2, 2, 1), at);
}

function stopped(x: tf.Tensor): tf.Tensor {
  return stopGradient(() => tf.clone(x));
}

/** 0, 1, … as [1, length]. */
function range(length: number): tf.Tensor {
  return tf.tensor2d(
    Float32Array.from({ length }, (_, i) => i),
    [1, length],
  );
}

function stack(scalars: readonly tf.Tensor[]): tf.Tensor {
  return tf.concat(scalars.map((scalar) => tf.reshape(scalar, [1])));
}
