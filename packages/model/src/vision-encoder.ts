// Legend: N images, S pixels a side, C colours, P patches of one image (G a side), Q pixels of a patch's side,
// R = N·P rows, W width.
import type { VisionConfig } from '@weft/config';
import { attention, itemAt, tf } from '@weft/tensor';
import { type Attend, encoderBlock, encoderBlockParameters } from './encoder-block.js';
import { layerNorm, layerNormParameters } from './norms.js';
import { linear, linearParameters, sizes } from './ops.js';
import {
  applyLayers,
  type ParameterSpec,
  type Parameters,
  positionTable,
  prefix,
  prefixLayers,
  scope,
  vector,
} from './parameters.js';

/** Red, green and blue. */
const COLOURS = 3;
/** The parameters of `visionEncoder`, in the order in which it uses them. */
export function visionEncoderParameters(vision: VisionConfig): readonly ParameterSpec[] {
  const { width, patchSize, classToken, inputNorm, patchBias, outputNorm } = vision;
  const patch = linearParameters(patchSize * patchSize * COLOURS, width, [null, 'embed']);
  return [
    ...prefix('patch', patchBias ? patch : patch.slice(0, 1)),
    ...(classToken ? [vector('classToken', width)] : []),
    positionTable('positions', [patchGrid(vision) ** 2 + (classToken ? 1 : 0), width]),
    ...(inputNorm ? prefix('inputNorm', layerNormParameters(width)) : []),
    ...prefixLayers(encoderLayers(vision), () => encoderBlockParameters(vision)),
    ...(outputNorm ? prefix('norm', layerNormParameters(width)) : []),
  ];
}

/** The blocks that the encoder has: those up to the one that the connector reads. */
function encoderLayers({ depth, featureLayer }: VisionConfig): number {
  return featureLayer ?? depth;
}

/**
 * A vision transformer (ViT, Dosovitskiy et al., 2021) in CLIP's shape (Radford et al., 2021). The connector reads the
 * whole grid of patches; a class token, where an encoder has one, only takes part in the attention. Images do not see
 * each other.
 * @param images_NSSC pixels, normalised as the encoder expects them
 * @returns the features of all patches, row by row, [N·G², W]
 */
export function visionEncoder(images_NSSC: tf.Tensor, p: Parameters, vision: VisionConfig): tf.Tensor {
  const [count] = sizes(images_NSSC, 4);
  const features_RW = splitTokens(visionTokens(images_NSSC, p, vision), count, vision).patches_RW;
  return visionNorm(features_RW, p, vision);
}

/**
 * The encoder up to its last block: [N, S, S, C] → the tokens of every image, its class token first, [N·(1 + G²), W].
 * @param attend which tokens of an image read which; default: every one reads all of them
 */
export function visionTokens(
  images_NSSC: tf.Tensor,
  p: Parameters,
  vision: VisionConfig,
  attend: Attend = attention,
): tf.Tensor {
  const [count] = sizes(images_NSSC, 4);
  // Each patch becomes one vector: its pixels, mapped linearly.
  const pixels_R = patches(images_NSSC, vision.patchSize);
  const embedded_RW = vision.patchBias
    ? linear(pixels_R, scope(p, 'patch'))
    : tf.matMul(pixels_R, scope(p, 'patch')('kernel'));
  const tokens_NPW = withClassToken(tf.reshape(embedded_RW, [count, patchGrid(vision) ** 2, vision.width]), p, vision);
  // Attention alone cannot tell where a patch lies, so each of the grid's patches gets a learned vector added.
  const positioned_NPW = tf.add(tokens_NPW, p('positions'));
  const x_RW = tf.reshape(positioned_NPW, [positioned_NPW.size / vision.width, vision.width]);
  const input_RW = vision.inputNorm ? layerNorm(x_RW, scope(p, 'inputNorm'), vision.normEpsilon) : x_RW;
  return applyLayers(input_RW, p, encoderLayers(vision), (x, layer) => encoderBlock(x, layer, vision, count, attend));
}

/** Pre-norm blocks leave the residual stream unnormalised; with `outputNorm` whoever reads it gets it normalised. */
export function visionNorm(features_RW: tf.Tensor, p: Parameters, vision: VisionConfig): tf.Tensor {
  return vision.outputNorm ? layerNorm(features_RW, scope(p, 'norm'), vision.normEpsilon) : features_RW;
}

/** [N, G², W] → [N, 1 + G², W]: the class token before the patches of every image. */
function withClassToken(patches_NPW: tf.Tensor, p: Parameters, { classToken, width }: VisionConfig): tf.Tensor {
  if (!classToken) return patches_NPW;
  const [count] = sizes(patches_NPW, 3);
  const token_N1W = tf.add(tf.zeros([count, 1, width]), p('classToken'));
  return tf.concat([token_N1W, patches_NPW], 1);
}

/** The tokens of images: the class token of each, [N, W], where the encoder has one, and the patches of all, [N·G², W]. */
export function splitTokens(
  tokens_RW: tf.Tensor,
  count: number,
  vision: VisionConfig,
): { readonly classToken_NW: tf.Tensor | undefined; readonly patches_RW: tf.Tensor } {
  if (!vision.classToken) return { classToken_NW: undefined, patches_RW: tokens_RW };
  const cells = patchGrid(vision) ** 2;
  // Not slice(): tfjs differentiates it with a padding, split() with a concatenation.
  const parts = tf.split(tf.reshape(tokens_RW, [count, cells + 1, vision.width]), [1, cells], 1);
  return {
    classToken_NW: tf.reshape(itemAt(parts, 0), [count, vision.width]),
    patches_RW: tf.reshape(itemAt(parts, 1), [count * cells, vision.width]),
  };
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
