import { isDeepStrictEqual } from 'node:util';
import { mapSources, ofSource, type PerSource } from '@weft/common';
import type { RunConfig } from '@weft/config';
import { Dataset } from '@weft/data';
import {
  datasetSequence,
  indexInSourceOf,
  isHeldOut,
  type Ledger,
  type LedgerEntry,
  scheduleOf,
  stepRanges,
} from '@weft/mixture';
import type { SequenceName } from '../arguments.js';
import { withAbsolutePaths } from '../resolve-run.js';

/** One time a packed sequence was consumed. */
export interface Consumption {
  readonly step: number;
  readonly generation: number;
  /** 0 for the first pass over the source. */
  readonly epoch: number;
}

/**
 * The packed sequences a step consumed, in order, by their numbers in the index of each source.
 *
 * @param sizes packed sequences of each source
 * @param heldOut how many of them are never trained on
 */
export function stepSequences(
  { ranges }: LedgerEntry,
  seed: number,
  sizes: PerSource<number>,
  heldOut = 0,
): PerSource<readonly number[]> {
  return mapSources(ranges, ({ first, end }, source) => {
    const size = ofSource(sizes, source);
    const numbers = Array.from({ length: end - first }, (_, i) => first + i);
    return numbers.map((index) => datasetSequence(index, size, seed, source, heldOut).sequence);
  });
}

/** Every time a packed sequence was consumed: once per epoch so far; a held-out one never. */
export function findConsumptions(
  ledger: Ledger,
  { source, index }: SequenceName,
  seed: number,
  sizes: PerSource<number>,
  heldOut = 0,
): Consumption[] {
  const size = ofSource(sizes, source);
  if (isHeldOut(index, size, heldOut, source)) return [];
  const consumptions: Consumption[] = [];
  const last = ledger.entries.at(-1);
  const lastPosition = last === undefined ? 0 : ofSource(last.ranges, source).end;
  for (let epoch = 0; epoch * (size - heldOut) < lastPosition; epoch++) {
    const position = indexInSourceOf({ epoch, sequence: index }, size, seed, source, heldOut);
    const entry = ledger.entryThatConsumed(source, position);
    if (entry !== undefined) consumptions.push({ step: entry.step, generation: entry.generation, epoch });
  }
  return consumptions;
}

/** What is wrong with a ledger, a sentence each: sequences not consumed exactly once, steps that differ from the mixture. */
export function findLedgerProblems(ledger: Ledger, { data, globalBatchSize }: RunConfig): string[] {
  const schedule = scheduleOf(data);
  const unscheduled = ledger.entries.flatMap(({ step, ranges }) => {
    const wanted = stepRanges(schedule, globalBatchSize, step, data.skippedBatches);
    const taken = new Map(Object.entries(ranges));
    return Object.entries(wanted)
      .filter(([source, range]) => !isDeepStrictEqual(taken.get(source), range))
      .map(([source]) => `step ${step} took other ${source} sequences than the mixture gives it`);
  });
  return [...ledger.problems(), ...unscheduled];
}

/** How many packed sequences each source of a run's data set holds. Errors as `Dataset.open`. */
export async function readSourceSizes(config: RunConfig, home: string): Promise<PerSource<number>> {
  const dataset = await Dataset.open(withAbsolutePaths(config, home));
  try {
    return dataset.sequences;
  } finally {
    await dataset.close();
  }
}

/** Sequences of each source that a run never trains on; 0 for a run of an older version, whose configuration has no such field. */
export function heldOutPerSource({ evaluation }: Partial<Pick<RunConfig, 'evaluation'>>): number {
  return evaluation?.sequencesPerSource ?? 0;
}
