// Legend: N images, P patches of one image, K tokens per image, W vision width, D decoder width.
import { assertNever } from '@weft/common';
import type { ModelConfig } from '@weft/config';
import { tf } from '@weft/tensor';
import { averagePool, averagePoolParameters } from './average-pool.js';
import { cAbstractor, cAbstractorParameters } from './c-abstractor.js';
import type { ParameterSpec, Parameters } from './parameters.js';
import { patchGrid } from './vision-encoder.js';

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

/** Turns the features of every image into K decoder tokens: [N·P, W] → [N·K, D]. */
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
