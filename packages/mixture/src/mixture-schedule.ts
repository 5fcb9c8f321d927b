import { type PerSource, perSource, SOURCES, type Source, WeftError } from '@weft/common';

/** Where a global sequence comes from. */
export interface SequenceAddress {
  readonly source: Source;
  /** How many sequences of this source came before: 0 for its first one. It goes on growing over epochs. */
  readonly indexInSource: number;
}

/** The longest table a schedule keeps: the sum of the weights after division by their greatest common divisor. */
const LONGEST_PERIOD = 2 ** 20;

/**
 * The exact order in which a run takes its sources: smooth weighted round robin, computed once for one period and
 * then looked up. Each turn every source earns its weight, the richest one is taken and pays the sum of the weights.
 *
 * After any number of sequences, every source is less than one sequence away from its share. (Written in turns, the
 * purses sum to one before the payment, so the payer holds at least 1/3 and no purse falls below −2/3; two purses of
 * one or more would need a third below −2/3, so no unpaid purse reaches one. The argument needs at most three
 * sources.)
 */
export class MixtureSchedule {
  readonly weights: PerSource<number>;
  /** The order repeats after this many sequences: 9 for 4:4:1. */
  readonly period: number;
  readonly #perPeriod: PerSource<number>;
  /** Index into SOURCES of each turn of the period. */
  readonly #sourceOfTurn: Uint8Array;
  /** For each turn and source, how many earlier turns of the period took that source. */
  readonly #countsBeforeTurn: Uint32Array;

  /**
   * @param weights non-negative integers, at least one positive; 45:45:10 and 9:9:2 are the same schedule.
   * @throws `invalid_argument` naming the weight that is not allowed.
   */
  constructor(weights: PerSource<number>) {
    for (const source of SOURCES) {
      const weight = weights[source];
      if (!Number.isSafeInteger(weight) || weight < 0)
        throw new WeftError(
          'invalid_argument',
          `the weight of ${source} must be a non-negative integer, not ${weight}`,
        );
    }
    const divisor = SOURCES.reduce((common, source) => greatestCommonDivisor(common, weights[source]), 0);
    if (divisor === 0)
      throw new WeftError('invalid_argument', 'the weights of all sources are 0', {
        cure: 'give at least one source a positive weight',
      });
    this.weights = perSource((source) => weights[source]);
    this.#perPeriod = perSource((source) => weights[source] / divisor);
    this.period = SOURCES.reduce((sum, source) => sum + this.#perPeriod[source], 0);
    if (this.period > LONGEST_PERIOD)
      throw new WeftError(
        'invalid_argument',
        `the weights ${SOURCES.map((source) => weights[source]).join(':')} repeat only after ${this.period} sequences, more than ${LONGEST_PERIOD}`,
        { cure: 'write the same shares with smaller integers' },
      );
    this.#sourceOfTurn = new Uint8Array(this.period);
    this.#countsBeforeTurn = new Uint32Array(this.period * SOURCES.length);
    this.#fillTables();
  }

  /**
   * The source of a global sequence, and its place among the sequences of that source. O(1).
   *
   * @param globalSequence 0 for the first sequence of a run.
   */
  locate(globalSequence: number): SequenceAddress {
    const { periods, turn } = this.#split(globalSequence);
    const number = this.#sourceOfTurn[turn]!;
    const source = SOURCES[number]!;
    const earlier = this.#countsBeforeTurn[turn * SOURCES.length + number]!;
    return { source, indexInSource: periods * this.#perPeriod[source] + earlier };
  }

  /** How many of the sequences before `globalSequence` came from each source. O(1). */
  countsBefore(globalSequence: number): PerSource<number> {
    const { periods, turn } = this.#split(globalSequence);
    return perSource(
      (source, number) => periods * this.#perPeriod[source] + this.#countsBeforeTurn[turn * SOURCES.length + number]!,
    );
  }

  #split(globalSequence: number): { periods: number; turn: number } {
    if (!Number.isSafeInteger(globalSequence) || globalSequence < 0)
      throw new WeftError('invalid_argument', `a global sequence is a non-negative integer, not ${globalSequence}`);
    return { periods: Math.floor(globalSequence / this.period), turn: globalSequence % this.period };
  }

  #fillTables(): void {
    const purses = SOURCES.map(() => 0);
    const counts = SOURCES.map(() => 0);
    for (let turn = 0; turn < this.period; turn++) {
      this.#countsBeforeTurn.set(counts, turn * SOURCES.length);
      for (const [number, source] of SOURCES.entries()) purses[number] = purses[number]! + this.#perPeriod[source];
      const richest = purses.indexOf(Math.max(...purses));
      purses[richest] = purses[richest]! - this.period;
      counts[richest] = counts[richest]! + 1;
      this.#sourceOfTurn[turn] = richest;
    }
  }
}

function greatestCommonDivisor(a: number, b: number): number {
  let [larger, smaller] = [a, b];
  while (smaller !== 0) [larger, smaller] = [smaller, larger % smaller];
  return larger;
}
