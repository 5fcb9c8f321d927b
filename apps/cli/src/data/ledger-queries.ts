import { isDeepStrictEqual } from 'node:util';
import { type PerSource, WeftError } from '@weft/common';
import type { RunConfig } from '@weft/config';
import { Dataset, RunContents } from '@weft/data';
import { type DatasetSequence, type Ledger, type LedgerEntry, scheduleOf, stepRanges } from '@weft/mixture';
import type { SequenceName } from '../arguments.js';
import { withAbsolutePaths } from '../resolve-run.js';

/** One time a packed sequence was consumed. */
export interface Consumption {
  readonly step: number;
  readonly generation: number;
  /** 0 for the first pass over the source. */
  readonly epoch: number;
}

/** The packed sequences a step consumed, in order, by their numbers in the index of each source. */
export function stepSequences({ ranges }: LedgerEntry, contents: RunContents): PerSource<readonly DatasetSequence[]> {
  return contents.named(ranges);
}

/** Every time a packed sequence was consumed: once per epoch so far; a held-out one never. */
export function findConsumptions(
  ledger: Ledger,
  { source, index }: SequenceName,
  { sequences }: Pick<RunContents, 'sequences'>,
): Consumption[] {
  const end = ledger.entries.at(-1)?.ranges[source]?.end ?? 0;
  return [...sequences.takenAt(source, index, end)].flatMap(({ epoch, indexInSource }) => {
    const entry = ledger.entryThatConsumed(source, indexInSource);
    return entry === undefined ? [] : [{ step: entry.step, generation: entry.generation, epoch }];
  });
}

/** What is wrong with a ledger, a sentence each: sequences not consumed exactly once, steps that differ from the mixture. */
export function findLedgerProblems(ledger: Ledger, config: RunConfig): string[] {
  const schedule = scheduleOf(config);
  const unscheduled = ledger.entries.flatMap(({ step, ranges }) => {
    const wanted = stepRanges(schedule, config.globalBatchSize, step, config.data.skippedBatches);
    const taken = new Map(Object.entries(ranges));
    return Object.entries(wanted)
      .filter(([source, range]) => !isDeepStrictEqual(taken.get(source), range))
      .map(([source]) => `step ${step} took other ${source} sequences than the mixture gives it`);
  });
  return [...ledger.problems(), ...unscheduled];
}

/** Lends what a run takes of its data set. Errors as `Dataset.open`. */
export async function withRunContents<T>(
  config: RunConfig,
  home: string,
  use: (contents: RunContents) => Promise<T>,
): Promise<T> {
  const absolute = withAbsolutePaths(config, home);
  const dataset = await Dataset.open(absolute);
  try {
    return await use(new RunContents(dataset, absolute));
  } finally {
    await dataset.close();
  }
}

/** As `withRunContents`; where the data set is not on this machine, `undefined` and why. */
export async function withContentsIfThere<T>(
  config: RunConfig,
  home: string,
  use: (contents: RunContents | undefined, problem: WeftError | undefined) => Promise<T>,
): Promise<T> {
  let isThere = false;
  try {
    return await withRunContents(config, home, (contents) => {
      isThere = true;
      return use(contents, undefined);
    });
  } catch (thrown) {
    if (isThere) throw thrown;
    return use(undefined, WeftError.from(thrown));
  }
}
