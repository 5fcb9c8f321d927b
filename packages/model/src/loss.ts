// Legend: B sequences, T positions, R = B·T rows, M image tokens of the batch, W vision width, D decoder width,
// V vocabulary.
import type { ModelConfig } from '@weft/config';
import { sparseSoftmaxCrossEntropy, tf } from '@weft/engine';
import type { BatchField } from './batch.js';
import { connect } from './connector.js';
import { decoder } from './decoder.js';
import { decoderInput } from './decoder-input.js';
import { type Parameters, within } from './parameters.js';
import { visionEncoder } from './vision-encoder.js';

/** The tensors of one microbatch; see `batchSpecs` for shapes and meaning. */
export type Batch = Readonly<Record<BatchField, tf.Tensor>>;

/**
 * The whole model on one microbatch: the *sum* of the cross-entropies, in nats, over the text targets, that is where
 * the mask is 1. The trainer divides by the number of such targets in the whole step, over all ranks.
 */
export function lossSum(model: ModelConfig, parameter: Parameters, batch: Batch): tf.Scalar {
  const rows = batch.targetIds_BT.size;
  const loss_R = sparseSoftmaxCrossEntropy(
    logits(model, parameter, batch),
    tf.reshape<tf.Rank.R1>(batch.targetIds_BT, [rows]),
  );
  return tf.sum(tf.mul(loss_R, tf.reshape(batch.lossMask_BT, [rows])));
}

/** The scores of the next token at every position, [B·T, V]. */
export function logits(model: ModelConfig, parameter: Parameters, batch: Batch): tf.Tensor2D {
  const features_RW = visionEncoder(batch.images_NHWC, within(parameter, 'vision'), model.vision);
  const imageTokens_MD = connect(features_RW, within(parameter, 'connector'), model);
  const decoderScope = within(parameter, 'decoder');
  const x_RD = decoderInput(imageTokens_MD, decoderScope('embedding'), batch.tokenIds_BT, batch.imageRows_BT);
  return decoder(x_RD, decoderScope, model.decoder, batch.segmentIds_BT, batch.positions_BT);
}
