// Legend: B sequences, T positions, R = B·T rows, M image tokens of the batch, W vision width, D decoder width,
// V vocabulary.
import type { ModelConfig } from '@weft/config';
import { sparseSoftmaxCrossEntropy, tf } from '@weft/tensor';
import type { BatchField } from './batch.js';
import { connect } from './connector.js';
import { decoder } from './decoder.js';
import { decoderInput } from './decoder-input.js';
import { type ExpertCall, localExperts } from './moe/experts.js';
import { SparseLayers } from './moe/sparse-layers.js';
import { type Parameters, within } from './parameters.js';
import { visionEncoder } from './vision-encoder.js';

/** The tensors of one microbatch; see `batchSpecs` for shapes and meaning. */
export type Batch = Readonly<Record<BatchField, tf.Tensor>>;

/** The loss of one microbatch; every part is a *sum*, so that microbatches and ranks add up. */
export interface LossParts {
  /** What training minimises: the cross-entropy and, with MoE layers, the auxiliary losses of their routers. */
  readonly objective: tf.Scalar;
  /** In nats, over the text targets: what is reported as the loss, and what a held-out loss is. */
  readonly crossEntropy: tf.Scalar;
  /** `moeSignalsLength` elements for `decodeMoeSignals`; undefined for a dense model. */
  readonly moeSignals: tf.Tensor1D | undefined;
}

/**
 * The whole model on one microbatch: the *sum* of the cross-entropies, in nats, over the text targets, that is where
 * the mask is 1, and of the routers' auxiliary losses on the same scale. The trainer divides by the number of such
 * targets in the whole step, over all ranks.
 * @param experts computes the experts of MoE layers; default: here, as parameters of the model
 */
export function lossSum(model: ModelConfig, parameter: Parameters, batch: Batch, experts?: ExpertCall): tf.Scalar {
  return lossParts(model, parameter, batch, experts).objective;
}

/** As `lossSum`, part by part. */
export function lossParts(model: ModelConfig, parameter: Parameters, batch: Batch, experts?: ExpertCall): LossParts {
  const rows = batch.targetIds_BT.size;
  const sparse = sparseLayers(model, parameter, batch, experts);
  const loss_R = sparseSoftmaxCrossEntropy(
    forward(model, parameter, batch, sparse),
    tf.reshape<tf.Rank.R1>(batch.targetIds_BT, [rows]),
  );
  const crossEntropy: tf.Scalar = tf.sum(tf.mul(loss_R, tf.reshape(batch.lossMask_BT, [rows])));
  return {
    objective: sparse === undefined ? crossEntropy : tf.add(crossEntropy, sparse.auxiliaryLoss()),
    crossEntropy,
    moeSignals: sparse?.signals(),
  };
}

/** The scores of the next token at every position, [B·T, V]. */
export function logits(model: ModelConfig, parameter: Parameters, batch: Batch): tf.Tensor2D {
  return forward(model, parameter, batch, sparseLayers(model, parameter, batch));
}

function sparseLayers(model: ModelConfig, parameter: Parameters, batch: Batch, experts?: ExpertCall) {
  if (model.decoder.moe === null) return undefined;
  return new SparseLayers(model, batch, experts ?? localExperts(model, parameter));
}

function forward(model: ModelConfig, parameter: Parameters, batch: Batch, sparse: SparseLayers | undefined) {
  const features_RW = visionEncoder(batch.images_NHWC, within(parameter, 'vision'), model.vision);
  const imageTokens_MD = connect(features_RW, within(parameter, 'connector'), model);
  const decoderScope = within(parameter, 'decoder');
  const x_RD = decoderInput(imageTokens_MD, decoderScope('embedding'), batch.tokenIds_BT, batch.imageRows_BT);
  return decoder(x_RD, decoderScope, model.decoder, batch.segmentIds_BT, batch.positions_BT, sparse);
}
