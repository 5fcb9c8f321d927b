import type { SourceId } from '@weft/common';
import type { RunConfig } from '@weft/config';
import { checkEpochs, Dataset, identityAt, type LocatedSequence, RankBatchLoader } from '@weft/data';
import { heldOutSequence, scheduleOf } from '@weft/mixture';
import { rankSlice } from '@weft/topology';
import type { Microbatch, TaskData } from './train-task.js';

/** Fills a microbatch of a task that trains an image encoder. @param rows at most `microbatchSize` pairs */
export type ReadPairs = (dataset: Dataset, rows: readonly LocatedSequence[]) => Promise<Microbatch>;

/**
 * The data of a task that trains an image encoder: pairs of an image and a caption.
 * @throws WeftError for a missing or unfit data index
 */
export async function openEncoderData(config: RunConfig, read: ReadPairs): Promise<TaskData> {
  const { data, globalBatchSize, microbatchSize, seed, evaluation } = config;
  const dataset = await Dataset.open(config);
  try {
    checkEpochs(dataset, config);
  } catch (thrown) {
    await dataset.close();
    throw thrown;
  }
  const schedule = scheduleOf(config);
  return {
    identityOf: (step) => identityAt(dataset, config, step),
    openLoader: () =>
      new RankBatchLoader({
        ...{ dataset, schedule, seed, globalBatchSize, microbatchSize },
        read: async (rows) => ({
          arrays: await read(dataset, rows),
          targets: rows.map(() => 1),
          images: rows.map(() => 1),
        }),
        prefetchSteps: data.prefetchSteps,
        skippedBatches: data.skippedBatches,
        shuffle: data.shuffle,
        heldOutPerSource: evaluation.sequencesPerSource,
      }),
    heldOut: Object.entries(data.weights).map(([source, weight]) => ({
      source,
      weight,
      microbatches: (rank, worldSize) => heldOutPairs({ dataset, source, config, read, rank, worldSize }),
    })),
    badSamples: () => dataset.badSamples(),
    close: () => dataset.close(),
  };
}

interface HeldOutOptions {
  readonly dataset: Dataset;
  readonly source: SourceId;
  readonly config: RunConfig;
  readonly read: ReadPairs;
  readonly rank: number;
  readonly worldSize: number;
}

/** A rank takes whole microbatches, so that pairs are compared with the same others on any number of ranks. */
async function* heldOutPairs(options: HeldOutOptions): AsyncGenerator<Microbatch, void, undefined> {
  const { dataset, source, config, read, rank, worldSize } = options;
  const { microbatchSize, evaluation } = config;
  const heldOut = evaluation.sequencesPerSource;
  const own = rankSlice(0, Math.ceil(heldOut / microbatchSize), rank, worldSize);
  for (let microbatch = own.first; microbatch < own.end; microbatch++) {
    const first = microbatch * microbatchSize;
    const rows = Array.from({ length: Math.min(microbatchSize, heldOut - first) }, (_, row) => {
      const index = heldOutSequence(first + row, dataset.heldOutBase(source, heldOut), heldOut, source);
      return { source, index, identity: `held out/${source}/${index}` };
    });
    yield await read(dataset, rows);
  }
}
