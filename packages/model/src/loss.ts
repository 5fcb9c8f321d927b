// Legend: B sequences, T positions, R = B·T rows, M image tokens of the batch, W vision width, D decoder width,
// V vocabulary.
import type { ModelConfig } from '@weft/config';
import { sparseSoftmaxCrossEntropy, tf } from '@weft/tensor';
import type { Batch } from './batch.js';
import { connect } from './connector.js';
import { decoder, decoderInput } from './decoder.js';
import { type ExpertFn, localExperts } from './moe/experts.js';
import { MoeLayers } from './moe/moe-layers.js';
import { takeRows } from './ops.js';
import { type Parameters, scope } from './parameters.js';
import { visionEncoder } from './vision-encoder.js';

/** The loss of one microbatch. Every part is a *sum*, so microbatches and ranks simply add up. */
export interface LossParts {
  /** What training minimises: the cross-entropy and, with MoE layers, the auxiliary losses of their routers. */
  readonly objective: tf.Scalar;
  /** In nats, over the text targets: reported as the loss, and as the held-out loss in an evaluation. */
  readonly crossEntropy: tf.Scalar;
  /** The cross-entropy at each position, 0 where there is no target: [B·T]. */
  readonly crossEntropy_R: tf.Tensor;
  /** `moeStatsLength` elements for `decodeMoeStats`; undefined for a dense model. */
  readonly moeStats: tf.Tensor | undefined;
}

/**
 * The language-model objective of one microbatch: the *sum* of the cross-entropies −ln p(target), in nats, over the text
 * targets (where the mask is 1), and the routers' auxiliary losses on the same scale. Images are inputs and never
 * targets. Training divides by the number of targets in the whole step, over all ranks, so the mean does not depend on
 * how a step is cut into microbatches.
 * @param parameter every parameter that `modelParameters` declares
 * @param experts computes the experts of MoE layers; default: here, from parameters of the model
 */
export function lossParts(model: ModelConfig, parameter: Parameters, batch: Batch, experts?: ExpertFn): LossParts {
  const moe =
    model.decoder.moe === null ? undefined : new MoeLayers(model, batch, experts ?? localExperts(model, parameter));
  const logits_RV = logits(model, parameter, batch, moe);
  const rows = batch.targetIds_BT.size;
  const loss_R = sparseSoftmaxCrossEntropy(logits_RV, tf.reshape<tf.Rank.R1>(batch.targetIds_BT, [rows]));
  const crossEntropy_R = tf.mul(loss_R, tf.reshape(batch.lossMask_BT, [rows]));
  const crossEntropy: tf.Scalar = tf.sum(crossEntropy_R);
  return {
    objective: moe === undefined ? crossEntropy : tf.add(crossEntropy, moe.auxiliaryLoss()),
    crossEntropy,
    crossEntropy_R,
    moeStats: moe?.stats(),
  };
}

/**
 * The forward pass: pixels and tokens to the logits of the next token at every position, [B·T, V]. Without images
 * neither encoder nor connector is computed, or asked for its parameters.
 * @param moe the MoE layers of a model that has them
 */
export function logits(model: ModelConfig, parameter: Parameters, batch: Batch, moe?: MoeLayers): tf.Tensor2D {
  const p = scope(parameter, 'decoder');
  const { images_NHWC, tokenIds_BT, imageTokenIndex_BT } = batch;
  const x_RD =
    images_NHWC === undefined
      ? takeRows(p('embedding'), tokenIds_BT)
      : decoderInput(imageTokens(model, parameter, images_NHWC), p('embedding'), tokenIds_BT, imageTokenIndex_BT);
  return decoder(x_RD, p, model.decoder, batch.segmentIds_BT, batch.positions_BT, moe);
}

/** Pixels to the tokens that stand for them in the decoder, image by image: [N, S, S, C] → [N·K, D]. */
export function imageTokens(model: ModelConfig, parameter: Parameters, images_NHWC: tf.Tensor): tf.Tensor {
  const features_RW = visionEncoder(images_NHWC, scope(parameter, 'vision'), model.vision);
  return connect(features_RW, scope(parameter, 'connector'), model);
}
