// Legend: N images, P patches of one image, K tokens per image, W vision width, H hidden width, D decoder width,
// R = N·P or N·K rows.
import { assertNever } from '@weft/common';
import type { ConnectorConfig, ModelConfig } from '@weft/config';
import { tf } from '@weft/tensor';
import { linear, linearParameters, poolGrid, silu, sizes } from './ops.js';
import { type ParameterSpec, type Parameters, positionTable, prefix, scope } from './parameters.js';
import { regStage, regStageParameters } from './reg-stage.js';
import { patchGrid } from './vision-encoder.js';

/** The parameters of `connect`. */
export function connectorParameters({ vision, connector, decoder }: ModelConfig): readonly ParameterSpec[] {
  switch (connector.kind) {
    case 'averagePool':
      return averagePoolParameters(vision.width, decoder.width);
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
 * MM1's simplest connector: n×n average pooling of the patch grid, then a linear map into the decoder.
 * @param features_NPW the patch grid; √K divides its side
 * @returns [N·K, D]
 */
export function averagePool(features_NPW: tf.Tensor, p: Parameters, tokensPerImage: number): tf.Tensor {
  const pooled_NKW = poolGrid(features_NPW, Math.sqrt(tokensPerImage));
  const [count, , width] = sizes(pooled_NKW, 3);
  return linear(tf.reshape(pooled_NKW, [count * tokensPerImage, width]), scope(p, 'projection'));
}

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
