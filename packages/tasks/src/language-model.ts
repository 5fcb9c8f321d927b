import { refuse } from '@weft/common';
import { AUTOMATIC_MESH, type RunConfig } from '@weft/config';
import { checkEpochs, Dataset, heldOutBatches, identityAt, imageSizes, RankBatchLoader, readBatch } from '@weft/data';
import { scheduleOf } from '@weft/mixture';
import {
  type Batch,
  type BatchField,
  batchSpecs,
  decodeMoeStats,
  isExpertStack,
  lossParts,
  modelParameters,
  moeStatsLength,
  parseExpertTensorName,
  withoutJitter,
} from '@weft/model';
import { tf } from '@weft/tensor';
import { remoteExpertLayers, remoteExperts } from './remote-experts.js';
import { SOURCES, SourceLoss } from './source-loss.js';
import { taskParameter } from './task-parameter.js';
import type { TaskBatch, TaskData, TrainTask } from './train-task.js';

/**
 * Multimodal language modelling: predict the next text token of packed sequences of text and images. The loss is the
 * cross-entropy in nats over the text targets; MoE models add the auxiliary losses of their routers to the objective.
 * Where the run has expert workers, the rank holds no experts and its MoE layers exchange rows with them.
 */
export function languageModel(config: RunConfig): TrainTask {
  const { model, data, microbatchSize } = config;
  const isRemote = config.expertWorkers > 0;
  const sourceLoss = new SourceLoss(Object.keys(data.weights));
  const moeStats = moeStatsLength(model);
  const parameters = modelParameters(model).filter(({ name }) => !isRemote || !isExpertStack(name));
  return {
    name: config.recipe,
    parameters: parameters.map((spec) => taskParameter(spec, config.optimizer)),
    sequenceLength: model.sequenceLength,
    batch: {
      ...batchSpecs(model, { sequences: microbatchSize, images: microbatchSize * data.imagesPerSequence }),
      ...sourceLoss.batchSpecs(microbatchSize),
    },
    statsLength: moeStats + sourceLoss.statsLength,
    remoteExperts: isRemote ? remoteExpertLayers(config) : undefined,
    forward: (pass) => {
      const asTrained = pass.isTraining ? model : withoutJitter(model);
      const experts = isRemote ? remoteExperts(pass) : undefined;
      const batch = modelBatch(pass.batch);
      const parts = lossParts(asTrained, pass.parameter, batch, experts);
      const bySource = sourceLoss.sums(arrayOf(pass.batch, SOURCES), parts.crossEntropy_R, batch.lossMask_BT);
      const stats = parts.moeStats === undefined ? bySource : tf.concat([parts.moeStats, bySource]);
      return { objective: parts.objective, lossSum: parts.crossEntropy, stats };
    },
    lossTokens: (batch) => tf.sum(modelBatch(batch).lossMask_BT),
    readStats: (sums, lossTokens) => {
      const all = Array.from(sums);
      return {
        moeLayers: decodeMoeStats(model, all.slice(0, moeStats), lossTokens),
        sourceLoss: sourceLoss.read(all.slice(moeStats)),
      };
    },
    isRemote: (storedName) => isRemote && parseExpertTensorName(storedName) !== undefined,
    openData: () => openData(config, sourceLoss),
  };
}

/** The phases declare exactly the arrays of `batchSpecs`. */
function modelBatch(batch: TaskBatch): Batch {
  const tensor = (field: BatchField) => arrayOf(batch, field);
  const { images_NHWC } = batch;
  return {
    tokenIds_BT: tensor('tokenIds_BT'),
    targetIds_BT: tensor('targetIds_BT'),
    lossMask_BT: tensor('lossMask_BT'),
    segmentIds_BT: tensor('segmentIds_BT'),
    positions_BT: tensor('positions_BT'),
    imageTokenIndex_BT: tensor('imageTokenIndex_BT'),
    ...(images_NHWC === undefined ? {} : { images_NHWC }),
  };
}

function arrayOf(batch: TaskBatch, name: string): tf.Tensor {
  return batch[name] ?? refuse('internal', `the batch has no ${name}`);
}

async function openData(config: RunConfig, sourceLoss: SourceLoss): Promise<TaskData> {
  const dataset = await Dataset.open(config);
  try {
    return await taskData(config, dataset, sourceLoss);
  } catch (thrown) {
    await dataset.close();
    throw thrown;
  }
}

async function taskData(config: RunConfig, dataset: Dataset, sourceLoss: SourceLoss): Promise<TaskData> {
  const { data, evaluation, globalBatchSize, microbatchSize, model, seed, steps } = config;
  const schedule = scheduleOf(config);
  checkEpochs(dataset, config);
  // Those of the mixture that the run begins with, so that a change of it changes no compiled phase.
  const first = scheduleOf({ ...config, data: { ...data, mixtureChanges: [] } });
  const sizes = await imageSizes(dataset, {
    schedule: first,
    microbatchSize,
    multipleOf: imageMultiple(config),
    steps,
  });
  const shapes = { microbatchSize, imageSizes: sizes };
  const heldOut = evaluation.sequencesPerSource;
  const openLoader = () =>
    new RankBatchLoader({
      ...{ dataset, schedule, seed, globalBatchSize, microbatchSize },
      read: async (rows) => {
        const { arrays, ...read } = await readBatch(dataset, rows, shapes);
        const sources = rows.map(({ source }) => source);
        return { ...read, arrays: { ...arrays, ...sourceLoss.arrays(sources, microbatchSize) } };
      },
      prefetchSteps: data.prefetchSteps,
      skippedBatches: data.skippedBatches,
      shuffle: data.shuffle,
      heldOutPerSource: heldOut,
    });
  return {
    identityOf: (step) => identityAt(dataset, config, step),
    variants: sizes.slice(0, -1).map((images) => ({
      name: `${images}-images`,
      batch: { ...batchSpecs(model, { sequences: microbatchSize, images }), ...sourceLoss.batchSpecs(microbatchSize) },
    })),
    openLoader,
    sequencesOf: (step) => openLoader().sequences(step),
    heldOut: Object.entries(data.weights).map(([source, weight]) => ({
      source,
      weight,
      async *microbatches(rank, worldSize) {
        // All of one source, so nobody asks for the loss of each; but the phases take the same arrays.
        const sources = sourceLoss.arrays([], microbatchSize);
        for await (const arrays of heldOutBatches({ dataset, source, heldOut, rank, worldSize, ...shapes }))
          yield { ...arrays, ...sources };
      },
    })),
    badSamples: () => dataset.badSamples(),
    close: () => dataset.close(),
  };
}

/** The devices of a worker that images are cut over; for a mesh that is yet to be chosen, what it will divide. */
function imageMultiple({ engine: { mesh }, microbatchSize }: RunConfig): number {
  return mesh === AUTOMATIC_MESH ? microbatchSize : mesh.fsdp * mesh.expert;
}
