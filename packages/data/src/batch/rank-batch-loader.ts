import { mapSources, ofSource, type PerSource, type SourceId, WeftError } from '@weft/common';
import { datasetSequence, digestOf, type MixtureSchedule } from '@weft/mixture';
import { rankSlice, stepSequences } from '@weft/topology';
import type { Dataset } from '../index/dataset.js';
import { type BatchArrays, emptyBatchOf, fillSequence } from './batch-arrays.js';

/** A rank's part of the global batch of one step. */
export interface RankBatch {
  /** The last one may end in empty sequences. */
  readonly microbatches: readonly BatchArrays[];
  /** Positions with a target, over all microbatches. */
  readonly lossTokens: number;
  /**
   * Over the identities of the sequences: dataset, global index, source, index in the source. `combineDigests` of
   * `@weft/mixture` combines the digests of all ranks into that of the step, the same for any worldSize.
   */
  readonly digest: string;
  /** Sequences of each source. */
  readonly sequences: PerSource<number>;
}

/** Options of `RankBatchLoader`. */
export interface RankBatchLoaderOptions {
  readonly dataset: Dataset;
  readonly schedule: MixtureSchedule;
  /** Seed of the shuffle of each source. */
  readonly seed: number;
  readonly microbatchSize: number;
  readonly globalBatchSize: number;
  /** Steps to prefetch after the one asked for. Each prefetched batch is kept in memory. */
  readonly prefetchSteps: number;
  /** Sequences of each source held out for validation; default 0. */
  readonly heldOutPerSource?: number;
}

/**
 * Reads a rank's batches, and prefetches the batches of its next steps. Schedule, seed and step determine the sequences
 * of a step; the rank takes its slice of them.
 */
export class RankBatchLoader {
  readonly #options: RankBatchLoaderOptions;
  /** By step, all of one rank and worldSize. */
  #prefetched = new Map<number, Promise<RankBatch>>();
  /** The rank and worldSize of the prefetched batches. */
  #prefetchedFor = '';
  #reading = new AbortController();
  #isClosed = false;

  constructor(options: RankBatchLoaderOptions) {
    this.#options = options;
  }

  /**
   * The batch of `rank` in step `step`.
   *
   * @param step from 1
   * @throws WeftError `corrupt_data` naming shard and member, `not_found` when a shard is missing, `cancelled` after
   * `close`
   */
  async load(step: number, rank: number, worldSize: number): Promise<RankBatch> {
    if (this.#isClosed) throw closed();
    const sequences = stepSequences(step, this.#options.globalBatchSize);
    rankSlice(sequences.first, sequences.end, rank, worldSize);
    this.#discardStale(step, rank, worldSize);
    const batch = this.#prefetched.get(step) ?? this.#read(step, rank, worldSize, this.#reading.signal);
    this.#prefetched.delete(step);
    this.#prefetch(batch, step, rank, worldSize);
    return batch;
  }

  /** Cancels prefetching and waits until it has stopped. The dataset stays open. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#reading.abort();
    const pending = [...this.#prefetched.values()];
    this.#prefetched.clear();
    await Promise.allSettled(pending);
  }

  /** Discards batches of another rank or worldSize, and all when `step` is not the next one. */
  #discardStale(step: number, rank: number, worldSize: number): void {
    const wanted = `${rank} of ${worldSize}`;
    const hasMoved = this.#prefetchedFor !== wanted || [...this.#prefetched.keys()].some((each) => each < step);
    const isFar = this.#prefetched.size > 0 && !this.#prefetched.has(step);
    if (!hasMoved && !isFar) return;
    this.#prefetchedFor = wanted;
    this.#reading.abort();
    this.#reading = new AbortController();
    this.#prefetched = new Map();
  }

  /** One step after the other, so that the batch training waits for is never behind a later one. */
  #prefetch(current: Promise<RankBatch>, step: number, rank: number, worldSize: number): void {
    const { signal } = this.#reading;
    let previous: Promise<unknown> = current;
    for (let next = step + 1; next <= step + this.#options.prefetchSteps; next++) {
      let batch = this.#prefetched.get(next);
      if (batch === undefined) {
        batch = previous.catch(() => undefined).then(() => this.#read(next, rank, worldSize, signal));
        // A failure is reported by the `load` of its step, if that ever comes.
        batch.catch(() => undefined);
        this.#prefetched.set(next, batch);
      }
      previous = batch;
    }
  }

  async #read(step: number, rank: number, worldSize: number, signal: AbortSignal): Promise<RankBatch> {
    const { dataset, schedule, microbatchSize, globalBatchSize } = this.#options;
    const all = stepSequences(step, globalBatchSize);
    const { first, end } = rankSlice(all.first, all.end, rank, worldSize);
    const microbatches: BatchArrays[] = [];
    const rows: FilledRow[] = [];
    for (let start = first; start < end; start += microbatchSize) {
      if (signal.aborted) throw closed();
      const batch = emptyBatchOf(dataset, microbatchSize);
      const count = Math.min(microbatchSize, end - start);
      const filling = Array.from({ length: count }, (_, row) => this.#fill(batch, row, start + row));
      rows.push(...(await Promise.all(filling)));
      microbatches.push(batch);
    }
    return {
      microbatches,
      lossTokens: rows.reduce((sum, { targets }) => sum + targets, 0),
      digest: digestOf(rows.map(({ identity }) => identity)),
      sequences: mapSources(schedule.weights, (_, source) => rows.filter((row) => row.source === source).length),
    };
  }

  /** Reads one sequence of the global order, with its images, into a row. */
  async #fill(batch: BatchArrays, row: number, globalIndex: number): Promise<FilledRow> {
    const { dataset, schedule, seed, heldOutPerSource = 0 } = this.#options;
    const { source, indexInSource } = schedule.locate(globalIndex);
    const size = ofSource(dataset.sequences, source);
    const { sequence } = datasetSequence(indexInSource, size, seed, source, heldOutPerSource);
    const targets = await fillSequence(batch, row, dataset, source, sequence);
    return { source, targets, identity: `${dataset.identity}/${globalIndex}/${source}/${sequence}` };
  }
}

interface FilledRow {
  readonly source: SourceId;
  readonly targets: number;
  readonly identity: string;
}

function closed(): WeftError {
  return new WeftError('cancelled', 'the batch loader is closed');
}
