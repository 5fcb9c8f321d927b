import { type PerSource, perSource, type SourceId, WeftError } from '@weft/common';

/** Where a sequence comes from. */
export interface SequenceAddress {
  readonly source: SourceId;
  /** How many sequences of this source came before: 0 for its first one. It goes on growing over epochs. */
  readonly indexInSource: number;
}

/** How far every source is behind its share, negative where it is ahead, in parts of a sequence. */
export interface Balances {
  /** So many parts are one sequence. */
  readonly unit: number;
  readonly parts: PerSource<number>;
}

/** The most numbers the tables of one period hold: a period of 2²⁰ for three sources, less for more of them. */
const MOST_COUNTS = 3 * 2 ** 20;
/** The finest parts of a sequence that are carried over: products of them with weights stay below 2⁵³. */
const FINEST_UNIT = 2 ** 26;

/**
 * The order of sources that form no groups, while their weights stay.
 *
 * Up to three sources follow smooth weighted round robin: each time every source earns its weight, and the richest one
 * is taken and pays the sum of the weights. (In units of that sum the balances add up to one before the payment, so the
 * payer has at least 1/3 and no balance falls below −2/3; two balances of one or more would need a third below −2/3, so
 * no unpaid balance reaches one.) That holds from any balances between −1 and 1 on, so it also holds when weights change and
 * the balances are carried over.
 *
 * The argument fails for more sources; they follow Tijdeman's chairman assignment (Discrete Mathematics 32, 1980), which keeps
 * every source within 1 − 1/(2n − 2) of its share. Where weights change, no order can promise that for four sources or more
 * without knowing of the change beforehand; then the source whose deadline comes first is taken, as before.
 */
export class SourceTurns {
  /** In the order of the weights. */
  readonly sources: readonly SourceId[];
  /** The sum of the smallest weights in the same ratio: after so many sequences every source has earned whole ones. */
  readonly period: number;
  /** Sequences of each source in one period. */
  readonly #perPeriod: readonly number[];
  readonly #unit: number;
  /** The balances it began with, in parts of `#unit`, in the order of the sources. */
  readonly #begin: readonly number[];
  /** The order from the beginning on, a period at a time. Behind the last one that of `#repeatsFrom` follows again. */
  readonly #periods: readonly Period[];
  readonly #repeatsFrom: number;

  /**
   * @param carried what the sources are behind their shares by; default: nothing
   * @throws `invalid_argument` where all weights are 0 or their period is too long
   */
  constructor(weights: PerSource<number>, carried?: Balances) {
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
    const { unit, parts } = inUnitsOf(this.period, carried, this.sources);
    this.#unit = unit;
    this.#begin = parts;
    ({ periods: this.#periods, repeatsFrom: this.#repeatsFrom } = this.#takeTurns());
  }

  /** The source of the sequence `offset`, from 0, and how many of it came before. O(1). */
  locate(offset: number): SequenceAddress {
    const { period, within, repeats } = this.#find(offset);
    const index = period.sourceAt[within]!;
    const earlier = period.countsBefore[within * this.sources.length + index]!;
    return { source: this.sources[index]!, indexInSource: repeats * this.#inRepeat(index) + earlier };
  }

  /** How many of the first `offset` sequences came from each source. O(1). */
  countsBefore(offset: number): PerSource<number> {
    const { period, within, repeats } = this.#find(offset);
    const first = within * this.sources.length;
    return perSource(this.sources, (_, index) => repeats * this.#inRepeat(index) + period.countsBefore[first + index]!);
  }

  /** What the sources are behind their shares by before the sequence `offset`. */
  balancesBefore(offset: number): Balances {
    const within = offset % this.period;
    const atPeriod = this.countsBefore(offset - within);
    const counts = this.countsBefore(offset);
    const earned = this.#unit / this.period;
    const periods = (offset - within) / this.period;
    const parts = perSource(this.sources, (source, index) => {
      const each = this.#perPeriod[index]!;
      // Whole sequences first: the rest is small, however long the run is.
      const whole = periods * each - atPeriod[source]!;
      return (
        this.#begin[index]! +
        whole * this.#unit +
        within * each * earned -
        (counts[source]! - atPeriod[source]!) * this.#unit
      );
    });
    return { unit: this.#unit, parts };
  }

  #find(offset: number): { readonly period: Period; readonly within: number; readonly repeats: number } {
    if (!Number.isSafeInteger(offset) || offset < 0)
      throw new WeftError('invalid_argument', `a global sequence is a non-negative integer, not ${offset}`);
    const number = Math.floor(offset / this.period);
    const within = offset % this.period;
    const { length } = this.#periods;
    if (number < length) return { period: this.#periods[number]!, within, repeats: 0 };
    const repeated = length - this.#repeatsFrom;
    const repeats = Math.floor((number - this.#repeatsFrom) / repeated);
    const at = this.#repeatsFrom + ((number - this.#repeatsFrom) % repeated);
    return { period: this.#periods[at]!, within, repeats };
  }

  /** How often the `index`-th source comes in what is repeated. */
  #inRepeat(index: number): number {
    return (this.#periods.length - this.#repeatsFrom) * this.#perPeriod[index]!;
  }

  /** One period after the other, until the balances are those of an earlier one. Without any carried over that is the first. */
  #takeTurns(): { periods: readonly Period[]; repeatsFrom: number } {
    const balances = [...this.#begin];
    const counts = this.sources.map(() => 0);
    const periods: Period[] = [];
    const seen = new Map<string, number>();
    for (;;) {
      const state = balances.join();
      const earlier = seen.get(state);
      if (earlier !== undefined) return { periods, repeatsFrom: earlier };
      seen.set(state, periods.length);
      periods.push(this.#takePeriod(balances, counts));
    }
  }

  /** Changes both arrays to what they are after the period. */
  #takePeriod(balances: number[], counts: number[]): Period {
    const sourceAt = new Uint16Array(this.period);
    const countsBefore = new Uint32Array(this.period * counts.length);
    const earned = this.#unit / this.period;
    const choose = this.sources.length <= 3 ? richest : firstDeadline;
    for (let offset = 0; offset < this.period; offset++) {
      countsBefore.set(counts, offset * counts.length);
      for (const [index, weight] of this.#perPeriod.entries()) balances[index] = balances[index]! + weight * earned;
      const index = choose(balances, this.#perPeriod, this.#unit);
      balances[index] = balances[index]! - this.#unit;
      counts[index] = counts[index]! + 1;
      sourceAt[offset] = index;
    }
    return { sourceAt, countsBefore };
  }
}

/** The order of so many sequences that the sources have earned whole ones. */
interface Period {
  /** Index of the source of each sequence. */
  readonly sourceAt: Uint16Array;
  /** For each sequence and each source, how many came from that source before, from the very beginning. */
  readonly countsBefore: Uint32Array;
}

/** Balances in parts that divide a period too: exactly where such parts are not too fine, else rounded, with the same sum. */
function inUnitsOf(
  period: number,
  carried: Balances | undefined,
  sources: readonly SourceId[],
): { readonly unit: number; readonly parts: readonly number[] } {
  const former = sources.map((source) => carried?.parts[source] ?? 0);
  if (carried === undefined || former.every((each) => each === 0)) return { unit: period, parts: former.map(() => 0) };
  const exact = (carried.unit / greatestCommonDivisor(carried.unit, period)) * period;
  if (exact <= FINEST_UNIT) return { unit: exact, parts: former.map((each) => (each * exact) / carried.unit) };
  const unit = period * Math.max(1, Math.floor(FINEST_UNIT / period));
  const parts = former.map((each) => Math.round((each / carried.unit) * unit));
  const lost = Math.round((sum(former) / carried.unit) * unit) - sum(parts);
  const largest = parts.indexOf(Math.max(...parts));
  return { unit, parts: parts.map((each, index) => (index === largest ? each + lost : each)) };
}

/** The richest source that has a weight; the first of several. */
function richest(balances: readonly number[], weights: readonly number[]): number {
  let chosen = -1;
  for (const [index, balance] of balances.entries())
    if (weights[index]! > 0 && (chosen === -1 || balance > balances[chosen]!)) chosen = index;
  return chosen;
}

/**
 * Of the sources that lag at least 1/(2n − 2) behind their share, the one whose deadline comes first; the first of
 * several. Everything is scaled to integers, so that the comparison of fractions is exact.
 */
function firstDeadline(balances: readonly number[], weights: readonly number[], unit: number): number {
  const scale = 2 * weights.length - 2;
  let chosen = -1;
  let chosenSlack = 0;
  for (const [index, weight] of weights.entries()) {
    const lag = scale * balances[index]!;
    if (lag < unit || weight === 0) continue;
    // The deadline is slack / weight sequences away.
    const slack = (scale - 1) * unit - lag;
    if (chosen === -1 || slack * weights[chosen]! < chosenSlack * weight) [chosen, chosenSlack] = [index, slack];
  }
  // Where sources that lag have no weight any more, the others may all be ahead.
  return chosen === -1 ? richest(balances, weights) : chosen;
}

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);

export function greatestCommonDivisor(a: number, b: number): number {
  let [larger, smaller] = [a, b];
  while (smaller !== 0) [larger, smaller] = [smaller, larger % smaller];
  return larger;
}
