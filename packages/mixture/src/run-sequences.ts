import { ofSource, type PerSource, type SourceId, WeftError } from '@weft/common';
import type { Range } from '@weft/topology';
import type { ShuffleBlocks } from './block-order.js';
import { heldOutBase } from './held-out.js';
import type { MixtureSchedule } from './mixture-schedule.js';
import { type DatasetSequence, SourceOrder } from './source-order.js';
import type { SequenceAddress } from './source-turns.js';

/** One version of a packed index: how many sequences it holds of each source, those of all earlier ones among them. */
export interface IndexVersion {
  readonly sequences: PerSource<number>;
}

/** What a run takes as one global sequence. */
interface RunSequence extends SequenceAddress, DatasetSequence {
  readonly globalSequence: number;
  /** The version of the index that counts there, from 1. */
  readonly indexVersion: number;
}

/** One time a packed sequence is taken. */
interface TakenAt {
  /** 0 for the first pass over the source. */
  readonly epoch: number;
  readonly indexInSource: number;
}

/** What decides which packed sequences a run takes. */
interface RunSequencesOptions {
  readonly schedule: MixtureSchedule;
  /** All versions of the index, the oldest first. */
  readonly versions: readonly IndexVersion[];
  /** Of the run. */
  readonly seed: number;
  /** Sequences of each source that are held out; default: none. */
  readonly heldOutPerSource?: number;
  /** As `SourceOrderOptions.shuffle`. */
  readonly shuffle?: ShuffleBlocks | null;
}

/**
 * Which packed sequences a run takes, and when: its mixture over time, applied to the versions of an index. Whoever asks what a
 * run takes asks here, so that a sequence has one number everywhere: the one in the index of its source.
 */
export class RunSequences {
  readonly #options: Required<RunSequencesOptions>;
  /** By source; made when it is first asked for, because a source without a weight may hold nothing. */
  readonly #orders = new Map<SourceId, SourceOrder>();

  /** @throws `failed_precondition` where the run needs a version that the index does not have */
  constructor(options: RunSequencesOptions) {
    this.#options = { heldOutPerSource: 0, shuffle: null, ...options };
    const { schedule, versions } = options;
    const missing = schedule.stretches.find(({ indexVersion }) => (indexVersion ?? 1) > versions.length);
    if (missing !== undefined)
      throw new WeftError(
        'failed_precondition',
        `the run takes version ${missing.indexVersion} of the data index from sequence ${missing.first} on, but the index has ${versions.length === 1 ? 'one version' : `${versions.length} versions`}`,
        { hint: 'put back the index that it was trained on: one that is packed anew numbers its sequences anew' },
      );
  }

  get schedule(): MixtureSchedule {
    return this.#options.schedule;
  }

  /** @throws `failed_precondition` when the source holds no sequence to train on */
  at(globalSequence: number): RunSequence {
    const { schedule } = this.#options;
    const address = schedule.locate(globalSequence);
    const indexVersion = this.#versionOf(schedule.stretchAt(globalSequence));
    return { globalSequence, ...address, ...this.order(address.source).at(address.indexInSource), indexVersion };
  }

  /** The packed sequences that a source gives as some of its own. @throws as `at` */
  ofSource(source: SourceId, { first, end }: Range): readonly DatasetSequence[] {
    const order = first === end ? undefined : this.order(source);
    return order === undefined ? [] : Array.from({ length: end - first }, (_, at) => order.at(first + at));
  }

  /** Every time a packed sequence is among the first `end` that the run takes of its source: once for each epoch. */
  takenAt(source: SourceId, sequence: number, end: number): Iterable<TakenAt> {
    return end === 0 ? [] : this.order(source).indicesOf(sequence, end);
  }

  /** Whether a packed sequence is never trained on. */
  isHeldOut(source: SourceId, sequence: number): boolean {
    return this.#options.heldOutPerSource > 0 && this.order(source).isHeldOut(sequence);
  }

  /** How many sequences of a source the run may take at last, those that are held out among them. */
  sizeOf(source: SourceId): number {
    const { schedule, versions } = this.#options;
    return ofSource(versions[this.#versionOf(schedule.stretches.at(-1)!) - 1]!.sequences, source);
  }

  /** The order of one source. @throws as `at` */
  order(source: SourceId): SourceOrder {
    const known = this.#orders.get(source);
    if (known !== undefined) return known;
    const { schedule, versions, seed, heldOutPerSource, shuffle } = this.#options;
    const sizes = schedule.stretches.map((stretch) => ({
      first: ofSource(stretch.counts, source),
      sequences: ofSource(versions[this.#versionOf(stretch) - 1]!.sequences, source),
    }));
    const heldOutOf = heldOutBase(
      versions.map(({ sequences }) => ofSource(sequences, source)),
      heldOutPerSource,
    );
    const order = new SourceOrder({ source, seed, sizes, heldOut: heldOutPerSource, heldOutOf, shuffle });
    this.#orders.set(source, order);
    return order;
  }

  #versionOf({ indexVersion }: { readonly indexVersion: number | null }): number {
    return indexVersion ?? this.#options.versions.length;
  }
}
