// Legend: N images, P patches of one image, K tokens per image, W vision width, H hidden width, D decoder width.
import type { ConnectorConfig } from '@weft/config';
import { tf } from '@weft/tensor';
import { linear, linearParameters } from './linear.js';
import { type ParameterSpec, type Parameters, positionTable, under, within } from './parameters.js';
import { poolGrid } from './pool-grid.js';
import { regStage, regStageParameters } from './reg-stage.js';
import { sizes } from './sizes.js';
import { silu } from './swiglu.js';

export function cAbstractorParameters(
  { hiddenWidth, depth }: ConnectorConfig,
  patchCount: number,
  visionWidth: number,
  decoderWidth: number,
): readonly ParameterSpec[] {
  return [
    positionTable('positions', [patchCount, visionWidth]),
    ...under('before', regStageParameters(visionWidth, hiddenWidth, depth)),
    ...under('after', regStageParameters(hiddenWidth, hiddenWidth, depth)),
    ...under('projection/enter', linearParameters(hiddenWidth, decoderWidth)),
    ...under('projection/leave', linearParameters(decoderWidth, decoderWidth)),
  ];
}

/**
 * The C-Abstractor of Honeybee (Cha et al., 2024), the connector of the final MM1: learned positions, a RegStage,
 * adaptive average pooling to √K × √K, a second RegStage, and a two-layer perceptron.
 * @param features_NPW the patch grid
 * @returns [N·K, D]
 */
export function cAbstractor(features_NPW: tf.Tensor, p: Parameters, connector: ConnectorConfig): tf.Tensor {
  const { hiddenWidth, depth, tokensPerImage } = connector;
  const [count] = sizes(features_NPW, 3);
  const placed_NPW = tf.add(features_NPW, p('positions'));
  const before_NPH = regStage(placed_NPW, within(p, 'before'), hiddenWidth, depth);
  const pooled_NKH = poolGrid(before_NPH, Math.sqrt(tokensPerImage));
  const after_NKH = regStage(pooled_NKH, within(p, 'after'), hiddenWidth, depth);
  const rows_RH = tf.reshape(after_NKH, [count * tokensPerImage, hiddenWidth]);
  return linear(silu(linear(rows_RH, within(p, 'projection/enter'))), within(p, 'projection/leave'));
}
