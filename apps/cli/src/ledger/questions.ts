import { type PerSource, perSource } from '@weft/common';
import { datasetSequence, indexInSourceOf, isHeldOut, type Ledger, type LedgerEntry } from '@weft/mixture';
import type { SequenceName } from '../arguments.js';

/** One time a packed sequence was consumed. */
export interface Consumption {
  readonly step: number;
  readonly generation: number;
  /** 0 for the first pass over the source. */
  readonly epoch: number;
}

/** The packed sequences a step consumed, by their numbers in the index of each source, in the order they were taken. `heldOut` of each source are never taken. */
export function sequencesOfStep(
  { ranges }: LedgerEntry,
  seed: number,
  sizes: PerSource<number>,
  heldOut = 0,
): PerSource<readonly number[]> {
  return perSource((source) => {
    const { first, end } = ranges[source];
    return Array.from(
      { length: end - first },
      (_, at) => datasetSequence(first + at, sizes[source], seed, source, heldOut).sequence,
    );
  });
}

/** Every time a packed sequence was consumed: once per epoch, as far as the run came; never one of the `heldOut`. */
export function consumptionsOf(
  ledger: Ledger,
  { source, index }: SequenceName,
  seed: number,
  sizes: PerSource<number>,
  heldOut = 0,
): Consumption[] {
  const size = sizes[source];
  if (isHeldOut(index, size, heldOut, source)) return [];
  const consumptions: Consumption[] = [];
  for (let epoch = 0; epoch * (size - heldOut) < ledger.consumed[source]; epoch++) {
    const place = indexInSourceOf({ epoch, sequence: index }, size, seed, source, heldOut);
    const entry = ledger.entryThatAte(source, place);
    if (entry !== undefined) consumptions.push({ step: entry.step, generation: entry.generation, epoch });
  }
  return consumptions;
}
