import { ofSource, type SourceId } from '@weft/common';
import { heldOutSequence } from '@weft/mixture';
import { rankSlice } from '@weft/topology';
import type { Dataset } from '../dataset/dataset.js';
import type { BatchArrays } from './batch-arrays.js';
import { emptyBatchOf, fillSequence } from './fill-sequence.js';

/** A rank's part of the held-out sequences of a source. */
export interface HeldOutPart {
  /** Held-out sequences of the source. */
  readonly heldOut: number;
  readonly microbatchSize: number;
  readonly rank: number;
  readonly worldSize: number;
}

export interface HeldOutOptions extends HeldOutPart {
  readonly dataset: Dataset;
  readonly source: SourceId;
}

/** How many microbatches `heldOutBatches` gives. */
export function heldOutBatchCount({ heldOut, microbatchSize, rank, worldSize }: HeldOutPart): number {
  const { first, end } = rankSlice(0, heldOut, rank, worldSize);
  return Math.ceil((end - first) / microbatchSize);
}

/**
 * The rank's part of the held-out sequences of a source, one microbatch at a time; the last one may end in empty
 * sequences, and a rank may have none.
 *
 * @throws `corrupt_data` naming shard and member, `not_found` when a shard has gone.
 */
export async function* heldOutBatches(options: HeldOutOptions): AsyncGenerator<BatchArrays, void, undefined> {
  const { dataset, source, heldOut, microbatchSize, rank, worldSize } = options;
  const { first, end } = rankSlice(0, heldOut, rank, worldSize);
  for (let start = first; start < end; start += microbatchSize) {
    const batch = emptyBatchOf(dataset, microbatchSize);
    const count = Math.min(microbatchSize, end - start);
    const filling = Array.from({ length: count }, (_, row) => {
      const number = heldOutSequence(start + row, ofSource(dataset.sequences, source), heldOut, source);
      return fillSequence(batch, row, dataset, source, number);
    });
    await Promise.all(filling);
    yield batch;
  }
}
