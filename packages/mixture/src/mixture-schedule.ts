import { mapSources, type PerSource, perSource, type SourceId, WeftError } from '@weft/common';

/** Where a global sequence comes from. */
export interface SequenceAddress {
  readonly source: SourceId;
  /** How many sequences of this source came before: 0 for its first one. It goes on growing over epochs. */
  readonly indexInSource: number;
}

/** The most numbers the tables of a schedule hold: a period of 2²⁰ for three sources, less for more of them. */
const MOST_COUNTS = 3 * 2 ** 20;

/**
 * The exact order in which a run takes its sources, computed once for one period and then looked up. After any number
 * of sequences, every source is less than one sequence away from its share.
 *
 * Where several sources form a group, such as the datasets of one source, the group takes its turns as a source of the sum
 * of their weights would, and divides them in the same way: a group is less than one sequence away from its share of the run,
 * and every source of it less than one from its share of the group.
 */
export class MixtureSchedule {
  readonly weights: PerSource<number>;
  /** In the order of the weights. */
  readonly sources: readonly SourceId[];
  readonly #groups: Schedule;
  /** How a group divides its turns; absent where it is one source. */
  readonly #inGroup: ReadonlyMap<string, Schedule>;

  /**
   * @param weights non-negative integers, at least one positive; 45:45:10 and 9:9:2 are the same schedule.
   * @param groups the group of every source; default: each is one of its own.
   * @throws `invalid_argument` naming the weight that is not allowed.
   */
  constructor(weights: PerSource<number>, groups: PerSource<string> = {}) {
    this.weights = mapSources(weights, checkWeight);
    this.sources = Object.keys(this.weights);
    const members = new Map<string, Record<SourceId, number>>();
    for (const [source, weight] of Object.entries(this.weights)) {
      const group = Object.hasOwn(groups, source) ? (groups[source] ?? source) : source;
      members.set(group, { ...members.get(group), [source]: weight });
    }
    this.#groups = new Schedule(Object.fromEntries([...members].map(([group, each]) => [group, sumOf(each)])));
    this.#inGroup = new Map(
      [...members].flatMap(([group, each]) =>
        sumOf(each) === 0 || (Object.hasOwn(each, group) && Object.keys(each).length === 1)
          ? []
          : [[group, new Schedule(each)]],
      ),
    );
  }

  /** The order repeats after this many sequences: 9 for 4:4:1. */
  get period(): number {
    return [...this.#inGroup].reduce((period, [group, { period: own }]) => {
      const { [group]: turns = 0 } = this.#groups.countsBefore(period);
      return (period * own) / greatestCommonDivisor(turns, own);
    }, this.#groups.period);
  }

  /**
   * The source of a global sequence, and its number among the sequences of that source. O(1).
   *
   * @param globalSequence 0 for the first sequence of a run.
   */
  locate(globalSequence: number): SequenceAddress {
    const turn = this.#groups.locate(globalSequence);
    return this.#inGroup.get(turn.source)?.locate(turn.indexInSource) ?? turn;
  }

  /** How many of the sequences before `globalSequence` came from each source. O(1). */
  countsBefore(globalSequence: number): PerSource<number> {
    const turns = this.#groups.countsBefore(globalSequence);
    if (this.#inGroup.size === 0) return turns;
    const counts: Record<SourceId, number> = {};
    for (const [group, count] of Object.entries(turns))
      Object.assign(counts, this.#inGroup.get(group)?.countsBefore(count) ?? { [group]: count });
    return mapSources(this.weights, (_, source) => counts[source] ?? 0);
  }
}

/** The mixture of a run, as its complete configuration gives it. */
export interface Mixture {
  readonly weights: PerSource<number>;
  /** Of a source that is a dataset of a larger one: the name of that. */
  readonly datasets?: PerSource<{ readonly source: string | null }>;
}

/** The schedule of a run: the datasets of one source are a group. */
export function scheduleOf({ weights, datasets = {} }: Mixture): MixtureSchedule {
  return new MixtureSchedule(
    weights,
    mapSources(weights, (_, source) =>
      Object.hasOwn(datasets, source) ? (datasets[source]?.source ?? source) : source,
    ),
  );
}

const sumOf = (weights: PerSource<number>) => Object.values(weights).reduce((sum, weight) => sum + weight, 0);

/**
 * The order of sources that form no groups.
 *
 * Up to three sources follow smooth weighted round robin: each time every source earns its weight, and the richest one
 * is taken and pays the sum of the weights. (In units of that sum the balances add up to one before the payment, so the
 * payer has at least 1/3 and no balance falls below −2/3; two balances of one or more would need a third below −2/3, so
 * no unpaid balance reaches one.) That argument fails for more sources; they follow Tijdeman's chairman assignment
 * (Discrete Mathematics 32, 1980), which keeps every source within 1 − 1/(2n − 2) of its share.
 */
class Schedule {
  /** In the order of the weights. */
  readonly sources: readonly SourceId[];
  /** The order repeats after this many sequences: 9 for 4:4:1. */
  readonly period: number;
  /** Sequences of each source in one period. */
  readonly #perPeriod: readonly number[];
  /** Index into `sources` of each sequence of the period. */
  readonly #sourceAt: Uint16Array;
  /** For each sequence of the period and each source, how many earlier ones came from that source. */
  readonly #countsBefore: Uint32Array;

  /** @throws `invalid_argument` where all weights are 0 or their period is too long */
  constructor(weights: PerSource<number>) {
    this.sources = Object.keys(weights);
    const all = Object.values(weights);
    const divisor = all.reduce(greatestCommonDivisor, 0);
    if (divisor === 0)
      throw new WeftError('invalid_argument', 'the weights of all sources are 0', {
        hint: 'give at least one source a positive weight',
      });
    this.#perPeriod = all.map((weight) => weight / divisor);
    this.period = this.#perPeriod.reduce((sum, count) => sum + count, 0);
    const longestPeriod = Math.floor(MOST_COUNTS / Math.max(all.length, 3));
    if (this.period > longestPeriod)
      throw new WeftError(
        'invalid_argument',
        `the weights ${all.join(':')} repeat only after ${this.period} sequences, more than ${longestPeriod}`,
        { hint: 'write the same shares with smaller integers' },
      );
    this.#sourceAt = new Uint16Array(this.period);
    this.#countsBefore = new Uint32Array(this.period * all.length);
    this.#fillTables(all.length <= 3 ? smoothRoundRobin(this.#perPeriod) : chairmanAssignment(this.#perPeriod));
  }

  locate(globalSequence: number): SequenceAddress {
    const { periods, offset } = this.#split(globalSequence);
    const index = this.#sourceAt[offset]!;
    const earlier = this.#countsBefore[offset * this.sources.length + index]!;
    return { source: this.sources[index]!, indexInSource: periods * this.#perPeriod[index]! + earlier };
  }

  countsBefore(globalSequence: number): PerSource<number> {
    const { periods, offset } = this.#split(globalSequence);
    return perSource(
      this.sources,
      (_, index) => periods * this.#perPeriod[index]! + this.#countsBefore[offset * this.sources.length + index]!,
    );
  }

  #split(globalSequence: number): { periods: number; offset: number } {
    if (!Number.isSafeInteger(globalSequence) || globalSequence < 0)
      throw new WeftError('invalid_argument', `a global sequence is a non-negative integer, not ${globalSequence}`);
    return { periods: Math.floor(globalSequence / this.period), offset: globalSequence % this.period };
  }

  #fillTables(nextSource: (counts: readonly number[], offset: number) => number): void {
    const counts = this.sources.map(() => 0);
    for (let offset = 0; offset < this.period; offset++) {
      this.#countsBefore.set(counts, offset * counts.length);
      const index = nextSource(counts, offset);
      counts[index] = counts[index]! + 1;
      this.#sourceAt[offset] = index;
    }
  }
}

function checkWeight(weight: number, source: SourceId): number {
  if (Number.isSafeInteger(weight) && weight >= 0) return weight;
  throw new WeftError('invalid_argument', `the weight of ${source} must be a non-negative integer, not ${weight}`);
}

/** The richest source; the first of several. */
function smoothRoundRobin(perPeriod: readonly number[]): () => number {
  const period = perPeriod.reduce((sum, count) => sum + count, 0);
  const balances = perPeriod.map(() => 0);
  return () => {
    for (const [index, weight] of perPeriod.entries()) balances[index] = balances[index]! + weight;
    const richest = balances.indexOf(Math.max(...balances));
    balances[richest] = balances[richest]! - period;
    return richest;
  };
}

/**
 * Of the sources that lag at least 1/(2n − 2) behind their share, the one whose deadline comes first; the first of
 * several. Everything is scaled to integers, so that the comparison of fractions is exact.
 */
function chairmanAssignment(perPeriod: readonly number[]): (counts: readonly number[], offset: number) => number {
  const period = perPeriod.reduce((sum, count) => sum + count, 0);
  const scale = 2 * perPeriod.length - 2;
  return (counts, offset) => {
    let chosen = -1;
    let chosenSlack = 0;
    for (const [index, weight] of perPeriod.entries()) {
      const lag = scale * ((offset + 1) * weight - counts[index]! * period);
      if (lag < period) continue;
      // The deadline is slack / weight sequences away.
      const slack = (scale - 1) * period - lag;
      if (chosen === -1 || slack * perPeriod[chosen]! < chosenSlack * weight) [chosen, chosenSlack] = [index, slack];
    }
    return chosen;
  };
}

function greatestCommonDivisor(a: number, b: number): number {
  let [larger, smaller] = [a, b];
  while (smaller !== 0) [larger, smaller] = [smaller, larger % smaller];
  return larger;
}
