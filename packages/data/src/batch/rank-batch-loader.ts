import { mapSources, type SourceId, WeftError } from '@weft/common';
import type { BatchCounts } from '@weft/contracts';
import { digestOf, type MixtureSchedule, RunSequences, type ShuffleBlocks } from '@weft/mixture';
import { type Range, rankSlice, stepSequences } from '@weft/topology';
import type { Dataset } from '../index/dataset.js';
import type { FilledBatch, LocatedSequence } from './batch-arrays.js';

/** A rank's part of the global batch of one step. */
export interface RankBatch<Arrays> {
  /** The last one may end in empty sequences. */
  readonly microbatches: readonly Arrays[];
  /** Positions with a target, over all microbatches. */
  readonly lossTokens: number;
  /**
   * Over the identities of the sequences: dataset, global index, source, index in the source. `combineDigests` of
   * `@weft/mixture` combines the digests of all ranks into that of the step, the same for any worldSize.
   */
  readonly digest: string;
  readonly counts: BatchCounts;
}

/** Steps after the prefetched ones whose images are fetched from afar meanwhile. */
const PREPARED_STEPS = 8;

/** One sequence. */
export interface SequenceBatch<Arrays> {
  readonly source: SourceId;
  /** Its number in the index of its source. */
  readonly sequence: number;
  readonly arrays: Arrays;
}

/** Options of `RankBatchLoader`. */
export interface RankBatchLoaderOptions<Arrays> {
  readonly dataset: Dataset;
  /** Reads sequences, at most `microbatchSize`, into a microbatch. */
  readonly read: (rows: readonly LocatedSequence[]) => Promise<FilledBatch<Arrays>>;
  readonly microbatchSize: number;
  /** Over all steps. */
  readonly schedule: MixtureSchedule;
  /** Seed of the shuffle of each source. */
  readonly seed: number;
  readonly globalBatchSize: number;
  /** Batches that no step consumes; default none. */
  readonly skippedBatches?: readonly Range[];
  /** Steps to prefetch after the one asked for. Each prefetched batch is kept in memory. */
  readonly prefetchSteps: number;
  /** Sequences of each source held out for validation; default 0. */
  readonly heldOutPerSource?: number;
  /** How far the shuffle of each source carries sequences; default null: over all of it. */
  readonly shuffle?: ShuffleBlocks | null;
}

/**
 * Reads a rank's batches, and prefetches the batches of its next steps. Schedule, seed and step determine the sequences
 * of a step; the rank takes its slice of them.
 */
export class RankBatchLoader<Arrays> {
  readonly #options: RankBatchLoaderOptions<Arrays>;
  readonly #sequences: RunSequences;
  /** By step, all of one rank and worldSize. */
  #prefetched = new Map<number, Promise<RankBatch<Arrays>>>();
  /** Those of the prefetched batches that are read. */
  readonly #ready = new WeakSet<Promise<RankBatch<Arrays>>>();
  /** The rank and worldSize of the prefetched batches. */
  #prefetchedFor = '';
  #reading = new AbortController();
  /** The last step whose images were asked for from afar, and when they are near. */
  #preparedUntil = 0;
  #preparing: Promise<void> = Promise.resolve();
  #isClosed = false;

  constructor(options: RankBatchLoaderOptions<Arrays>) {
    this.#options = options;
    this.#sequences = new RunSequences({ ...options, versions: options.dataset.versions });
  }

  /**
   * The batch of `rank` in step `step`.
   *
   * @param step from 1
   * @throws WeftError `corrupt_data` naming shard and member, `not_found` when a shard is missing, `cancelled` after
   * `close`
   */
  async load(step: number, rank: number, worldSize: number): Promise<RankBatch<Arrays>> {
    if (this.#isClosed) throw closed();
    const sequences = this.#sequencesOf(step);
    rankSlice(sequences.first, sequences.end, rank, worldSize);
    this.#discardStale(step, rank, worldSize);
    this.#prepare(step, rank, worldSize);
    const batch = this.#prefetched.get(step) ?? this.#read(step, rank, worldSize, this.#reading.signal);
    this.#prefetched.delete(step);
    // Without the batch of this step, where it is ready.
    const queuedBatches = [...this.#prefetched.values()].filter((each) => this.#ready.has(each)).length;
    this.#prefetch(batch, step, rank, worldSize);
    const { counts, ...read } = await batch;
    const { decoded, remote } = this.#options.dataset;
    return { ...read, counts: { ...counts, queuedBatches, decoded, remote } };
  }

  /** The sequences of a step, of all ranks, in order: each alone in a microbatch. */
  async *sequences(step: number): AsyncGenerator<SequenceBatch<Arrays>, void, undefined> {
    const { first, end } = this.#sequencesOf(step);
    for (let globalIndex = first; globalIndex < end; globalIndex++) {
      const located = this.#locate(globalIndex);
      const { arrays } = await this.#options.read([located]);
      yield { source: located.source, sequence: located.index, arrays };
    }
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
    this.#preparedUntil = 0;
    this.#preparing = Promise.resolve();
  }

  /** One step after the other, as for the prefetched batches. The order is known, so nothing is fetched in vain. */
  #prepare(step: number, rank: number, worldSize: number): void {
    const { dataset, prefetchSteps } = this.#options;
    if (!dataset.isRemote) return;
    const { signal } = this.#reading;
    const last = step + prefetchSteps + PREPARED_STEPS;
    for (let next = Math.max(step, this.#preparedUntil + 1); next <= last; next++) {
      const all = this.#sequencesOf(next);
      const { first, end } = rankSlice(all.first, all.end, rank, worldSize);
      const rows = Array.from({ length: end - first }, (_, row) => this.#locate(first + row));
      this.#preparing = this.#preparing.then(() => dataset.prepare(rows, signal));
    }
    this.#preparedUntil = last;
  }

  /** One step after the other, so that the batch training waits for is never behind a later one. */
  #prefetch(current: Promise<RankBatch<Arrays>>, step: number, rank: number, worldSize: number): void {
    const { signal } = this.#reading;
    let previous: Promise<unknown> = current;
    for (let next = step + 1; next <= step + this.#options.prefetchSteps; next++) {
      let batch = this.#prefetched.get(next);
      if (batch === undefined) {
        batch = previous.catch(() => undefined).then(() => this.#read(next, rank, worldSize, signal));
        const reading = batch;
        // A failure is reported by the `load` of its step, if that ever comes.
        batch.then(
          () => this.#ready.add(reading),
          () => undefined,
        );
        this.#prefetched.set(next, batch);
      }
      previous = batch;
    }
  }

  async #read(step: number, rank: number, worldSize: number, signal: AbortSignal): Promise<RankBatch<Arrays>> {
    const { dataset, schedule, read, microbatchSize } = this.#options;
    const all = this.#sequencesOf(step);
    const { first, end } = rankSlice(all.first, all.end, rank, worldSize);
    const microbatches: Arrays[] = [];
    const rows: (LocatedSequence & { readonly images: number; readonly targets: number })[] = [];
    let lossTokens = 0;
    for (let start = first; start < end; start += microbatchSize) {
      if (signal.aborted) throw closed();
      const own = Array.from({ length: Math.min(microbatchSize, end - start) }, (_, row) => this.#locate(start + row));
      const { arrays, images, targets } = await read(own);
      rows.push(...own.map((row, at) => ({ ...row, images: images[at] ?? 0, targets: targets[at] ?? 0 })));
      microbatches.push(arrays);
      lossTokens += targets.reduce((sum, each) => sum + each, 0);
    }
    const sumOf = (count: (row: (typeof rows)[number]) => number) =>
      mapSources(schedule.weights, (_, source) =>
        rows.reduce((sum, row) => sum + (row.source === source ? count(row) : 0), 0),
      );
    return {
      microbatches,
      lossTokens,
      digest: digestOf(rows.map(({ identity }) => identity)),
      counts: {
        sequences: sumOf(() => 1),
        images: sumOf(({ images }) => images),
        lossTokens: sumOf(({ targets }) => targets),
        queuedBatches: 0,
        decoded: dataset.decoded,
      },
    };
  }

  #sequencesOf(step: number): Range {
    const { globalBatchSize, skippedBatches } = this.#options;
    return stepSequences(step, globalBatchSize, skippedBatches);
  }

  /** Finds a sequence of the global order. */
  #locate(globalIndex: number): LocatedSequence {
    const { source, sequence, indexVersion } = this.#sequences.at(globalIndex);
    const identity = `${this.#options.dataset.identityOf(indexVersion)}/${globalIndex}/${source}/${sequence}`;
    return { source, index: sequence, identity };
  }
}

function closed(): WeftError {
  return new WeftError('cancelled', 'the batch loader is closed');
}
