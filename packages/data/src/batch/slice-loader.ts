import { mapSources, ofSource, type PerSource, type SourceId, WeftError } from '@weft/common';
import { datasetSequence, digestOf, type MixtureSchedule } from '@weft/mixture';
import { rankSlice, stepSequences } from '@weft/topology';
import type { Dataset } from '../dataset/dataset.js';
import type { BatchArrays } from './batch-arrays.js';
import { emptyBatchOf, fillSequence } from './fill-sequence.js';

/** What one rank trains on in one step. */
export interface StepSlice {
  /** The last one may end in empty sequences. */
  readonly microbatches: readonly BatchArrays[];
  /** Positions with a target, over all microbatches. */
  readonly lossTokens: number;
  /**
   * Over the identities of the sequences: dataset, global number, source, sequence. `combineDigests` of
   * `@weft/mixture` makes the digests of all ranks into that of the step, the same for any worldSize.
   */
  readonly digest: string;
  /** Sequences of each source in this slice. */
  readonly sequences: PerSource<number>;
  /** Seconds it took to read and decode, whether or not training waited for them. */
  readonly readSeconds: number;
}

export interface SliceLoaderOptions {
  readonly dataset: Dataset;
  readonly schedule: MixtureSchedule;
  /** Names the order in which sources are shuffled. */
  readonly seed: number;
  readonly microbatchSize: number;
  readonly globalBatchSize: number;
  /** Steps read ahead of the one asked for; every one of them is kept in memory. */
  readonly prefetchSteps: number;
  /** Sequences of each source that are held out for validation; default none. */
  readonly heldOutPerSource?: number;
}

/**
 * Reads the slices of the steps of a run. Which sequences a step holds follows from schedule, seed and step alone;
 * the rank's slice is cut out of them. After each slice it reads the next steps of the same rank ahead.
 */
export class SliceLoader {
  readonly #options: SliceLoaderOptions;
  /** Slices read ahead, by step, all of one rank and worldSize. */
  #ahead = new Map<number, Promise<StepSlice>>();
  #place = '';
  #reading = new AbortController();
  #isClosed = false;

  constructor(options: SliceLoaderOptions) {
    this.#options = options;
  }

  /**
   * The slice of `rank` in step `step` (1-based).
   *
   * @throws `corrupt_data` naming shard and member, `not_found` when a shard has gone, `cancelled` after `close`.
   */
  async load(step: number, rank: number, worldSize: number): Promise<StepSlice> {
    if (this.#isClosed) throw closed();
    const sequences = stepSequences(step, this.#options.globalBatchSize);
    rankSlice(sequences.first, sequences.end, rank, worldSize);
    this.#keepOnly(step, rank, worldSize);
    const slice = this.#ahead.get(step) ?? this.#read(step, rank, worldSize, this.#reading.signal);
    this.#ahead.delete(step);
    this.#readAhead(slice, step, rank, worldSize);
    return slice;
  }

  /** Gives up what is being read ahead and waits until it is. The dataset stays open. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#reading.abort();
    const ahead = [...this.#ahead.values()];
    this.#ahead.clear();
    await Promise.allSettled(ahead);
  }

  /** Forgets slices of another rank or worldSize, and of steps that are not next. */
  #keepOnly(step: number, rank: number, worldSize: number): void {
    const place = `${rank} of ${worldSize}`;
    const hasMoved = this.#place !== place || [...this.#ahead.keys()].some((ahead) => ahead < step);
    const isFar = this.#ahead.size > 0 && !this.#ahead.has(step);
    if (!hasMoved && !isFar) return;
    this.#place = place;
    this.#reading.abort();
    this.#reading = new AbortController();
    this.#ahead = new Map();
  }

  /** One after the other, so that the slice training waits for is never behind a later one. */
  #readAhead(current: Promise<StepSlice>, step: number, rank: number, worldSize: number): void {
    const { signal } = this.#reading;
    let before: Promise<unknown> = current;
    for (let next = step + 1; next <= step + this.#options.prefetchSteps; next++) {
      let slice = this.#ahead.get(next);
      if (slice === undefined) {
        slice = before.catch(() => undefined).then(() => this.#read(next, rank, worldSize, signal));
        // A failure is reported by the `load` of its step, if that ever comes.
        slice.catch(() => undefined);
        this.#ahead.set(next, slice);
      }
      before = slice;
    }
  }

  async #read(step: number, rank: number, worldSize: number, signal: AbortSignal): Promise<StepSlice> {
    const startMs = performance.now();
    const { dataset, microbatchSize, globalBatchSize } = this.#options;
    const all = stepSequences(step, globalBatchSize);
    const { first, end } = rankSlice(all.first, all.end, rank, worldSize);
    const microbatches: BatchArrays[] = [];
    const rows: Row[] = [];
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
      sequences: mapSources(
        this.#options.schedule.weights,
        (_, source) => rows.filter((row) => row.source === source).length,
      ),
      readSeconds: (performance.now() - startMs) / 1000,
    };
  }

  /** Reads one global sequence and its images into a row. */
  async #fill(batch: BatchArrays, row: number, globalSequence: number): Promise<Row> {
    const { dataset, schedule, seed, heldOutPerSource = 0 } = this.#options;
    const { source, indexInSource } = schedule.locate(globalSequence);
    const size = ofSource(dataset.sequences, source);
    const { sequence: number } = datasetSequence(indexInSource, size, seed, source, heldOutPerSource);
    const targets = await fillSequence(batch, row, dataset, source, number);
    return { source, targets, identity: `${dataset.identity}/${globalSequence}/${source}/${number}` };
  }
}

/** What is remembered of a row once it lies in its batch. */
interface Row {
  readonly source: SourceId;
  readonly targets: number;
  readonly identity: string;
}

function closed(): WeftError {
  return new WeftError('cancelled', 'reading ahead was given up');
}
