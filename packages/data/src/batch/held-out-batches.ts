import type { SourceId } from '@weft/common';
import { heldOutSequence } from '@weft/mixture';
import { rankSlice } from '@weft/topology';
import type { Dataset } from '../index/dataset.js';
import { type BatchArrays, type BatchShapes, readBatch } from './batch-arrays.js';

/** Which held-out sequences of a source a rank evaluates. */
export interface HeldOutPart extends BatchShapes {
  /** Held-out sequences of the source, over all ranks. */
  readonly heldOut: number;
  readonly rank: number;
  readonly worldSize: number;
}

/** Options of `heldOutBatches`. */
export interface HeldOutBatchesOptions extends HeldOutPart {
  readonly dataset: Dataset;
  readonly source: SourceId;
}

/** How many microbatches `heldOutBatches` yields. */
export function heldOutBatchCount({ heldOut, microbatchSize, rank, worldSize }: HeldOutPart): number {
  const { first, end } = rankSlice(0, heldOut, rank, worldSize);
  return Math.ceil((end - first) / microbatchSize);
}

/**
 * The rank's part of the held-out sequences of a source, one microbatch at a time. The last one may end in empty
 * sequences; a rank may have none.
 *
 * @throws WeftError `corrupt_data` naming shard and member, `not_found` when a shard is missing
 */
export async function* heldOutBatches(options: HeldOutBatchesOptions): AsyncGenerator<BatchArrays, void, undefined> {
  const { dataset, source, heldOut, microbatchSize, rank, worldSize } = options;
  const { first, end } = rankSlice(0, heldOut, rank, worldSize);
  for (let start = first; start < end; start += microbatchSize) {
    const locations = Array.from({ length: Math.min(microbatchSize, end - start) }, (_, row) => ({
      source,
      index: heldOutSequence(start + row, dataset.heldOutBase(source, heldOut), heldOut, source),
    }));
    const { arrays } = await readBatch(dataset, locations, options);
    yield arrays;
  }
}
