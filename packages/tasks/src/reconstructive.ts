import { Random, refuse } from '@weft/common';
import type { ReconstructiveTaskConfig, RunConfig } from '@weft/config';
import { type LocatedSequence, readPairs } from '@weft/data';
import { predictedPatches, reconstructionLoss, reconstructionParameters } from '@weft/model';
import { openEncoderData } from './encoder-data.js';
import { taskParameter } from './task-parameter.js';
import type { TaskBatch, TrainTask } from './train-task.js';

/**
 * Predicting the patches of images, as AIM does. The loss is the mean squared error of normalised pixels over all patches
 * that are predicted. How many patches of an image are given as its prefix is drawn for every image, evenly from 1 to all
 * but one; it follows from seed, image and its place in the run.
 */
export function reconstructive(config: RunConfig, task: ReconstructiveTaskConfig): TrainTask {
  const { microbatchSize, seed } = config;
  const { vision } = config.model;
  const patches = (vision.imageSize / vision.patchSize) ** 2;
  return {
    name: config.recipe,
    parameters: reconstructionParameters(vision, task).map((spec) => taskParameter(spec, config.optimizer)),
    sequenceLength: patches,
    batch: {
      images_NHWC: {
        shape: [microbatchSize, vision.imageSize, vision.imageSize, 3],
        dtype: 'float32',
        axes: ['batch', null, null, null],
      },
      prefixLength_N: { shape: [microbatchSize], dtype: 'int32', axes: ['batch'] },
    },
    statsLength: 0,
    remoteExperts: undefined,
    forward: ({ batch, parameter }) => {
      const { images_NHWC: images_NSSC, prefixLength_N } = imageBatch(batch);
      const lossSum = reconstructionLoss({ vision, task }, parameter, { images_NSSC, prefixLength_N });
      return { objective: lossSum, lossSum, stats: undefined };
    },
    lossTokens: (batch) => predictedPatches(imageBatch(batch).prefixLength_N, vision),
    readStats: () => ({ moeLayers: [] }),
    isRemote: () => false,
    openData: () =>
      openEncoderData(config, async (dataset, rows) => {
        const { arrays } = await readPairs(dataset, rows, microbatchSize);
        return { images_NHWC: arrays.images_NHWC, prefixLength_N: prefixLengths(rows) };
      }),
  };

  function prefixLengths(rows: readonly LocatedSequence[]): Int32Array {
    // Of rows without an image all patches are given, so that nothing is predicted.
    const lengths = new Int32Array(microbatchSize).fill(patches);
    for (const [row, { identity }] of rows.entries())
      lengths[row] = 1 + Random.of(seed, 'prefix', identity).below(patches - 1);
    return lengths;
  }
}

function imageBatch({ images_NHWC, prefixLength_N }: TaskBatch) {
  if (images_NHWC === undefined || prefixLength_N === undefined)
    return refuse('internal', 'the batch lacks images or their prefixes');
  return { images_NHWC, prefixLength_N };
}
