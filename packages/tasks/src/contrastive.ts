import { refuse } from '@weft/common';
import { type ContrastiveTaskConfig, MAX_SCALE, type RunConfig } from '@weft/config';
import { readPairs } from '@weft/data';
import {
  CONTRAST_STATS,
  contrast,
  contrastiveParameters,
  contrastWithin,
  LOG_SCALE,
  type PairBatch,
  pairFeatures,
  pairNormalisers,
} from '@weft/model';
import { type TensorSpec, tf } from '@weft/tensor';
import { openEncoderData } from './encoder-data.js';
import { taskParameter } from './task-parameter.js';
import { type BatchSpecs, SHARED_ROWS, type SharedBatch, type TaskBatch, type TrainTask } from './train-task.js';

/** What pairs share, in two rounds. */
const FEATURES = 'features_MF';
const NORMALISERS = 'normalisers_M2';

/**
 * Contrastive pre-training of an image encoder, as CLIP does. The loss of a pair is the mean of two cross-entropies: of its
 * caption among all captions of the step, given the image, and of its image among all images, given the caption. It is
 * the same on any number of ranks and microbatches, see `SharedBatch`. The held-out loss compares the pairs of one
 * microbatch.
 */
export function contrastive(config: RunConfig, task: ContrastiveTaskConfig): TrainTask {
  const { microbatchSize, globalBatchSize, model, optimizer } = config;
  const parts = { model, task };
  const batch = pairSpecs(config);
  const shared: SharedBatch = {
    sequences: globalBatchSize,
    microbatchSize,
    rounds: [
      {
        name: FEATURES,
        width: 2 * task.embeddingWidth,
        batch,
        compute: (pass) => pairFeatures(parts, pass.parameter, pairBatch(pass.batch)),
      },
      {
        name: NORMALISERS,
        width: 2,
        batch: {},
        compute: (pass) =>
          pairNormalisers(arrayOf(pass.batch, FEATURES), arrayOf(pass.batch, SHARED_ROWS), pass.parameter(LOG_SCALE)),
      },
    ],
  };
  return {
    name: config.recipe,
    parameters: contrastiveParameters(parts).map((spec) => {
      const parameter = taskParameter(spec, optimizer);
      return spec.name === LOG_SCALE ? { ...parameter, maximum: Math.log(MAX_SCALE) } : parameter;
    }),
    sequenceLength: model.sequenceLength,
    batch,
    statsLength: CONTRAST_STATS,
    remoteExperts: undefined,
    shared,
    forward: (pass) => {
      const features_NF = pairFeatures(parts, pass.parameter, pairBatch(pass.batch));
      const logScale = pass.parameter(LOG_SCALE);
      if (!pass.isTraining) return contrastWithin(features_NF, isPair(pass.batch), logScale);
      const known = {
        features_MF: arrayOf(pass.batch, FEATURES),
        normalisers_M2: arrayOf(pass.batch, NORMALISERS),
      };
      return contrast(features_NF, known, arrayOf(pass.batch, SHARED_ROWS), logScale);
    },
    lossTokens: (arrays) => tf.sum(isPair(arrays)),
    readStats: (sums, pairs) => {
      const [images = 0, texts = 0, scales = 0] = Array.from(sums);
      return { moeLayers: [], measures: { accuracy: (images + texts) / (2 * pairs), scale: scales / pairs } };
    },
    isRemote: () => false,
    openData: () =>
      openEncoderData(config, async (dataset, rows) => (await readPairs(dataset, rows, microbatchSize)).arrays),
  };
}

function pairSpecs({ microbatchSize, model: { vision, sequenceLength } }: RunConfig): BatchSpecs {
  const { imageSize } = vision;
  const perToken = (dtype: TensorSpec['dtype']): TensorSpec => ({
    shape: [microbatchSize, sequenceLength],
    dtype,
    axes: ['batch', null],
  });
  return {
    images_NHWC: {
      shape: [microbatchSize, imageSize, imageSize, 3],
      dtype: 'float32',
      axes: ['batch', null, null, null],
    },
    tokenIds_NT: perToken('int32'),
    isEnd_NT: perToken('float32'),
  };
}

function pairBatch(batch: TaskBatch): PairBatch {
  return {
    images_NHWC: arrayOf(batch, 'images_NHWC'),
    tokenIds_NT: arrayOf(batch, 'tokenIds_NT'),
    isEnd_NT: arrayOf(batch, 'isEnd_NT'),
  };
}

/** [N]: 1 for a pair, 0 for padding, which has no caption that ends. */
function isPair(batch: TaskBatch): tf.Tensor {
  return tf.sum(arrayOf(batch, 'isEnd_NT'), 1);
}

function arrayOf(batch: TaskBatch, name: string): tf.Tensor {
  return batch[name] ?? refuse('internal', `the batch has no ${name}`);
}
