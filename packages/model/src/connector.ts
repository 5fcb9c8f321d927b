// Legend: N images, P patches of one image, K tokens per image, W vision width, H hidden width or heads, C width of one
// head, D decoder width, R = N·P or N·K rows.
import { assertNever } from '@weft/common';
import type { ConnectorConfig, ModelConfig, VisionConfig } from '@weft/config';
import { tf } from '@weft/tensor';
import { splitHeads } from './attention.js';
import { layerNorm, layerNormParameters } from './norms.js';
import { linear, linearParameters, poolGrid, silu, sizes } from './ops.js';
import { type ParameterSpec, type Parameters, positionTable, prefix, scope } from './parameters.js';
import { regStage, regStageParameters } from './reg-stage.js';
import { patchGrid } from './vision-encoder.js';

/** The parameters of `connect`. */
export function connectorParameters({ vision, connector, decoder }: ModelConfig): readonly ParameterSpec[] {
  switch (connector.kind) {
    case 'averagePool':
      return averagePoolParameters(vision.width, decoder.width);
    case 'attentionPool':
      return attentionPoolParameters(connector.tokensPerImage, vision.width, decoder.width);
    case 'cAbstractor':
      return cAbstractorParameters(connector, patchGrid(vision) ** 2, vision.width, decoder.width);
    default:
      return assertNever(connector.kind);
  }
}

/**
 * Turns the patch features of every image into K tokens that the decoder reads like words: [N·P, W] → [N·K, D].
 * MM1 (McKinzie et al., 2024) found that K and the image resolution matter and the kind of connector hardly does.
 */
export function connect(features_RW: tf.Tensor, p: Parameters, { vision, connector }: ModelConfig): tf.Tensor {
  const features_NPW = tf.reshape(features_RW, [-1, patchGrid(vision) ** 2, vision.width]);
  switch (connector.kind) {
    case 'averagePool':
      return averagePool(features_NPW, p, connector.tokensPerImage);
    case 'attentionPool':
      return attentionPool(features_NPW, p, vision);
    case 'cAbstractor':
      return cAbstractor(features_NPW, p, connector);
    default:
      return assertNever(connector.kind);
  }
}

/** The parameters of `averagePool`. */
export function averagePoolParameters(visionWidth: number, decoderWidth: number): readonly ParameterSpec[] {
  return prefix('projection', linearParameters(visionWidth, decoderWidth, ['embed', null]));
}

/**
 * MM1's simplest connector: n×n average pooling of the patch grid, then a linear map into the decoder. The bins overlap
 * where √K does not divide the grid's side.
 * @param features_NPW the patch grid
 * @returns [N·K, D]
 */
export function averagePool(features_NPW: tf.Tensor, p: Parameters, tokensPerImage: number): tf.Tensor {
  const pooled_NKW = poolGrid(features_NPW, Math.sqrt(tokensPerImage));
  const [count, , width] = sizes(pooled_NKW, 3);
  return linear(tf.reshape(pooled_NKW, [count * tokensPerImage, width]), scope(p, 'projection'));
}

/** The parameters of `attentionPool`. */
export function attentionPoolParameters(
  tokensPerImage: number,
  visionWidth: number,
  decoderWidth: number,
): readonly ParameterSpec[] {
  return [
    positionTable('queries', [tokensPerImage, visionWidth]),
    ...prefix('norm', layerNormParameters(visionWidth)),
    ...prefix('key', linearParameters(visionWidth, visionWidth, ['embed', 'heads']).slice(0, 1)),
    ...prefix('value', linearParameters(visionWidth, visionWidth, ['embed', 'heads'])),
    ...prefix('output', linearParameters(visionWidth, decoderWidth, ['heads', 'embed'])),
  ];
}

/**
 * MM1's attention pooling: K learned queries read the patches of an image, each its own weighted mean of them, with as
 * many heads as the encoder; then a linear map into the decoder.
 * @param features_NPW the patch grid
 * @returns [N·K, D]
 */
export function attentionPool(
  features_NPW: tf.Tensor,
  p: Parameters,
  { heads }: Pick<VisionConfig, 'heads'>,
): tf.Tensor {
  const [count, patches, width] = sizes(features_NPW, 3);
  const [tokens] = sizes(p('queries'), 2);
  const headWidth = width / heads;
  // The residual stream of the encoder may come unnormalised.
  const normal_RW = layerNorm(tf.reshape(features_NPW, [count * patches, width]), scope(p, 'norm'), NORM_EPSILON);
  const byHead = (x_RW: tf.Tensor) => tf.transpose(splitHeads(x_RW, count, heads), [0, 2, 1, 3]);
  const k_NHPC = byHead(tf.matMul(normal_RW, scope(p, 'key')('kernel')));
  const v_NHPC = byHead(linear(normal_RW, scope(p, 'value')));
  const q_HKC = tf.transpose(tf.reshape(p('queries'), [tokens, heads, headWidth]), [1, 0, 2]);
  // The same queries for every image.
  const q_NHKC = tf.add(tf.zeros([count, 1, 1, 1]), tf.mul(q_HKC, 1 / Math.sqrt(headWidth)));
  const weights_NHKP = tf.softmax(tf.matMul(q_NHKC, k_NHPC, false, true));
  const read_NKHC = tf.transpose(tf.matMul(weights_NHKP, v_NHPC), [0, 2, 1, 3]);
  return linear(tf.reshape(read_NKHC, [count * tokens, width]), scope(p, 'output'));
}

/** As in CLIP. */
const NORM_EPSILON = 1e-5;

/** The parameters of `cAbstractor`. */
export function cAbstractorParameters(
  { hiddenWidth, depth }: ConnectorConfig,
  patchCount: number,
  visionWidth: number,
  decoderWidth: number,
): readonly ParameterSpec[] {
  return [
    positionTable('positions', [patchCount, visionWidth]),
    ...prefix('before', regStageParameters(visionWidth, hiddenWidth, depth)),
    ...prefix('after', regStageParameters(hiddenWidth, hiddenWidth, depth)),
    ...prefix('projection/enter', linearParameters(hiddenWidth, decoderWidth, ['embed', null])),
    ...prefix('projection/leave', linearParameters(decoderWidth, decoderWidth, ['embed', null])),
  ];
}

/**
 * The C-Abstractor of Honeybee (Cha et al., 2024), the connector of the final MM1. Its convolutions keep the locality
 * of the image, which plain attention over patches would lose.
 * @param features_NPW the patch grid
 * @returns [N·K, D]
 */
export function cAbstractor(features_NPW: tf.Tensor, p: Parameters, connector: ConnectorConfig): tf.Tensor {
  const { hiddenWidth, depth, tokensPerImage } = connector;
  const [count] = sizes(features_NPW, 3);
  const positioned_NPW = tf.add(features_NPW, p('positions'));
  // Convolutions mix neighbouring patches, pooling brings any grid to √K × √K cells, convolutions mix those.
  const before_NPH = regStage(positioned_NPW, scope(p, 'before'), hiddenWidth, depth);
  const pooled_NKH = poolGrid(before_NPH, Math.sqrt(tokensPerImage));
  const after_NKH = regStage(pooled_NKH, scope(p, 'after'), hiddenWidth, depth);
  // A two-layer perceptron maps each cell into the space of the decoder's word vectors.
  const rows_RH = tf.reshape(after_NKH, [count * tokensPerImage, hiddenWidth]);
  return linear(silu(linear(rows_RH, scope(p, 'projection/enter'))), scope(p, 'projection/leave'));
}
