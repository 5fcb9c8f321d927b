import { refuse } from '@weft/common';
import type { RunConfig } from '@weft/config';
import { Dataset, heldOutBatches, RankBatchLoader } from '@weft/data';
import { MixtureSchedule } from '@weft/mixture';
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
import { taskParameter } from './task-parameter.js';
import type { BatchLoader, TaskBatch, TaskData, TrainTask } from './train-task.js';

/**
 * Multimodal language modelling: predict the next text token of packed sequences of text and images. The loss is the
 * cross-entropy in nats over the text targets; MoE models add the auxiliary losses of their routers to the objective.
 * Where the run has expert workers, the rank holds no experts and its MoE layers exchange rows with them.
 */
export function languageModel(config: RunConfig): TrainTask {
  const { model, data, microbatchSize } = config;
  const isRemote = config.expertWorkers > 0;
  const parameters = modelParameters(model).filter(({ name }) => !isRemote || !isExpertStack(name));
  return {
    name: config.recipe,
    parameters: parameters.map(taskParameter),
    sequenceLength: model.sequenceLength,
    batch: batchSpecs(model, microbatchSize, data.imagesPerSequence),
    statsLength: moeStatsLength(model),
    remoteExperts: isRemote ? remoteExpertLayers(config) : undefined,
    forward: (pass) => {
      const asTrained = pass.isTraining ? model : withoutJitter(model);
      const experts = isRemote ? remoteExperts(pass) : undefined;
      const parts = lossParts(asTrained, pass.parameter, modelBatch(pass.batch), experts);
      return { objective: parts.objective, lossSum: parts.crossEntropy, stats: parts.moeStats };
    },
    lossTokens: (batch) => tf.sum(modelBatch(batch).lossMask_BT),
    readStats: (sums, lossTokens) => ({ moeLayers: decodeMoeStats(model, sums, lossTokens) }),
    isRemote: (storedName) => isRemote && parseExpertTensorName(storedName) !== undefined,
    openData: () => openData(config),
  };
}

/** The phases declare exactly the arrays of `batchSpecs`. */
function modelBatch(batch: TaskBatch): Batch {
  const tensor = (field: BatchField) => batch[field] ?? refuse('internal', `the batch has no ${field}`);
  return {
    tokenIds_BT: tensor('tokenIds_BT'),
    targetIds_BT: tensor('targetIds_BT'),
    lossMask_BT: tensor('lossMask_BT'),
    segmentIds_BT: tensor('segmentIds_BT'),
    positions_BT: tensor('positions_BT'),
    imageTokenIndex_BT: tensor('imageTokenIndex_BT'),
    images_NHWC: tensor('images_NHWC'),
  };
}

async function openData(config: RunConfig): Promise<TaskData> {
  const dataset = await Dataset.open({ data: config.data, model: config.model });
  return {
    identity: dataset.identity,
    openLoader: () => openLoader(config, dataset),
    heldOut: Object.entries(config.data.weights).map(([source, weight]) => ({
      source,
      weight,
      microbatches: (rank, worldSize) => {
        const { evaluation, microbatchSize } = config;
        const heldOut = evaluation.sequencesPerSource;
        return heldOutBatches({ dataset, source, heldOut, microbatchSize, rank, worldSize });
      },
    })),
    close: () => dataset.close(),
  };
}

function openLoader(config: RunConfig, dataset: Dataset): BatchLoader {
  return new RankBatchLoader({
    dataset,
    schedule: new MixtureSchedule(config.data.weights),
    seed: config.seed,
    microbatchSize: config.microbatchSize,
    globalBatchSize: config.globalBatchSize,
    prefetchSteps: config.data.prefetchSteps,
    heldOutPerSource: config.evaluation.sequencesPerSource,
  });
}
