import { mapSources, ofSource, type PerSource, type SourceId, WeftError } from '@weft/common';
import { GroupedTurns } from './grouped-turns.js';
import type { SequenceAddress } from './source-turns.js';

/** What a run takes from one sequence on: its weights, and the version of the packed index. */
export interface MixtureChange {
  /** The global sequence with which it begins. */
  readonly first: number;
  /** Of every source. */
  readonly weights: PerSource<number>;
  /** Null: the newest one, as it was when the run began. */
  readonly indexVersion: number | null;
}

/** A part of a run in which nothing of its mixture changes. */
export interface MixtureStretch extends MixtureChange {
  /** How many sequences of each source came before. */
  readonly counts: PerSource<number>;
}

/**
 * The exact order in which a run takes its sources, over its whole length: computed once for a period of each stretch and
 * then looked up. After any number of sequences, every source is less than one sequence away from its share. Where weights change,
 * counts go on from what was taken, and so does what every source is behind its share by.
 *
 * Where several sources form a group, such as the datasets of one source, the group takes its turns as a source of the sum
 * of their weights would, and divides them in the same way: a group is less than one sequence away from its share of the run,
 * and every source of it less than one from its share of the group.
 */
export class MixtureSchedule {
  /** Those that the run begins with. */
  readonly weights: PerSource<number>;
  /** In the order of the weights. */
  readonly sources: readonly SourceId[];
  /** In rising order; the first begins with sequence 0. */
  readonly stretches: readonly MixtureStretch[];
  /** Of each stretch. */
  readonly #turns: readonly GroupedTurns[];

  /**
   * @param weights non-negative integers, at least one positive; 45:45:10 and 9:9:2 are the same schedule.
   * @param groups the group of every source; default: each is one of its own.
   * @param changes in rising order; of two at one sequence the later one holds; default: none
   * @throws `invalid_argument` naming the weight that is not allowed.
   */
  constructor(
    weights: PerSource<number>,
    groups: PerSource<string> = {},
    changes: readonly MixtureChange[] = [],
    indexVersion: number | null = null,
  ) {
    this.weights = mapSources(weights, checkWeight);
    this.sources = Object.keys(this.weights);
    const groupOf = mapSources(weights, (_, source) => (Object.hasOwn(groups, source) ? groups[source]! : source));
    const stretches = [{ first: 0, weights: this.weights, indexVersion, counts: mapSources(weights, () => 0) }];
    const turns = [new GroupedTurns(this.weights, groupOf)];
    for (const change of changes) {
      const [last, before] = [stretches.at(-1)!, turns.at(-1)!];
      const length = change.first - last.first;
      if (length < 0)
        throw new WeftError(
          'invalid_argument',
          `the mixture changes at sequence ${last.first}, and then at ${change.first}`,
        );
      const ofSources = mapSources(this.weights, (_, source) => checkWeight(ofSource(change.weights, source), source));
      const taken = before.countsBefore(length);
      const counts = mapSources(last.counts, (count, source) => count + ofSource(taken, source));
      turns.push(before.continuedAt(length, ofSources));
      stretches.push({ ...change, weights: ofSources, counts });
    }
    this.stretches = stretches;
    this.#turns = turns;
  }

  /** The order of the first weights repeats after this many sequences: 9 for 4:4:1. */
  get period(): number {
    return this.#turns[0]!.period;
  }

  /** What the run takes at a global sequence. */
  stretchAt(globalSequence: number): MixtureStretch {
    return this.stretches[this.#indexAt(globalSequence)]!;
  }

  /**
   * The source of a global sequence, and its number among the sequences of that source. O(1) but for the number of changes.
   *
   * @param globalSequence 0 for the first sequence of a run.
   */
  locate(globalSequence: number): SequenceAddress {
    const at = this.#indexAt(globalSequence);
    const { first, counts } = this.stretches[at]!;
    const { source, indexInSource } = this.#turns[at]!.locate(globalSequence - first);
    return { source, indexInSource: ofSource(counts, source) + indexInSource };
  }

  /** How many of the sequences before `globalSequence` came from each source. O(1) but for the number of changes. */
  countsBefore(globalSequence: number): PerSource<number> {
    const at = this.#indexAt(globalSequence);
    const { first, counts } = this.stretches[at]!;
    const taken = this.#turns[at]!.countsBefore(globalSequence - first);
    return mapSources(counts, (count, source) => count + ofSource(taken, source));
  }

  /** The shares that the weights give each source of the sequences before `globalSequence`: fractions of sequences. */
  sharesBefore(globalSequence: number): PerSource<number> {
    return mapSources(this.weights, (_, source) =>
      this.stretches.reduce((share, { first, weights }, at) => {
        const end = Math.min(this.stretches[at + 1]?.first ?? Number.POSITIVE_INFINITY, globalSequence);
        return share + (Math.max(0, end - first) * ofSource(weights, source)) / sumOf(weights);
      }, 0),
    );
  }

  #indexAt(globalSequence: number): number {
    let at = this.stretches.length - 1;
    while (at > 0 && this.stretches[at]!.first > globalSequence) at--;
    return at;
  }
}

/** The mixture of a run, as its complete configuration gives it. */
export interface RunMixture {
  /** Sequences of a batch. */
  readonly globalBatchSize: number;
  readonly data: {
    readonly weights: PerSource<number>;
    /** Of a source that is a dataset of a larger one: the name of that. */
    readonly datasets?: PerSource<{ readonly source: string | null }>;
    /** Null: the newest one. Default: null. */
    readonly indexVersion?: number | null;
    /** In rising order; default: none. */
    readonly mixtureChanges?: readonly {
      /** From 1. */
      readonly fromBatch: number;
      readonly weights: PerSource<number>;
      readonly indexVersion: number | null;
    }[];
  };
}

/** The schedule of a run, over all its length: the datasets of one source are a group. */
export function scheduleOf({ globalBatchSize, data }: RunMixture): MixtureSchedule {
  const { weights, datasets = {}, indexVersion = null, mixtureChanges = [] } = data;
  return new MixtureSchedule(
    weights,
    mapSources(weights, (_, source) =>
      Object.hasOwn(datasets, source) ? (datasets[source]?.source ?? source) : source,
    ),
    mixtureChanges.map(({ fromBatch, ...change }) => ({ first: (fromBatch - 1) * globalBatchSize, ...change })),
    indexVersion,
  );
}

function checkWeight(weight: number, source: SourceId): number {
  if (Number.isSafeInteger(weight) && weight >= 0) return weight;
  throw new WeftError('invalid_argument', `the weight of ${source} must be a non-negative integer, not ${weight}`);
}

const sumOf = (weights: PerSource<number>) => Object.values(weights).reduce((sum, weight) => sum + weight, 0);
