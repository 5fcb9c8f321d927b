import { mapSources, ofSource, type PerSource } from '@weft/common';
import { type Range, stepSequences } from '@weft/topology';
import type { MixtureSchedule, MixtureStretch } from './mixture-schedule.js';

/** What one committed step consumed. JSON-serialisable: this is the line of the log. */
export interface LedgerEntry {
  /** 1-based. */
  readonly step: number;
  /** The membership of the ring that took the step. */
  readonly generation: number;
  /** The step consumed the global sequences [firstSequence, endSequence). */
  readonly firstSequence: number;
  readonly endSequence: number;
  /** The same sequences as ranges of `indexInSource`, one per source. */
  readonly ranges: PerSource<Range>;
  /** SHA-256 (hexadecimal) over the identities of the sequences, as the ranks saw them. */
  readonly digest: string;
  /** Mean loss per text token of the whole batch; null where it was not finite. */
  readonly loss: number | null;
  /** False where the step was counted but its gradients were refused. */
  readonly applied: boolean;
}

/** What a step adds to what follows from the schedule. */
export interface StepFacts {
  readonly step: number;
  readonly generation: number;
  readonly digest: string;
  readonly loss: number;
  readonly applied: boolean;
}

/**
 * The ranges of every source that step `step` consumes; a pure function of the schedule.
 * @param skipped batches that no step consumes; default none
 */
export function stepRanges(
  schedule: MixtureSchedule,
  globalBatchSize: number,
  step: number,
  skipped: readonly Range[] = [],
): PerSource<Range> {
  return rangesBetween(schedule, stepSequences(step, globalBatchSize, skipped));
}

function rangesBetween(schedule: MixtureSchedule, { first, end }: Range): PerSource<Range> {
  const before = schedule.countsBefore(first);
  const after = schedule.countsBefore(end);
  return mapSources(before, (first, source) => ({ first, end: ofSource(after, source) }));
}

/** The shares that the weights give every source of what the first `step` steps consumed. @param skipped as in `stepRanges` */
export function sharesBy(
  schedule: MixtureSchedule,
  globalBatchSize: number,
  step: number,
  skipped: readonly Range[] = [],
): PerSource<number> {
  if (step === 0) return mapSources(schedule.weights, () => 0);
  const { end } = stepSequences(step, globalBatchSize, skipped);
  const left = skipped.filter(({ first }) => (first - 1) * globalBatchSize < end);
  const sharesOf = ({ first, end }: Range, source: string) =>
    ofSource(schedule.sharesBefore((end - 1) * globalBatchSize), source) -
    ofSource(schedule.sharesBefore((first - 1) * globalBatchSize), source);
  return mapSources(schedule.sharesBefore(end), (share, source) =>
    left.reduce((rest, batches) => rest - sharesOf(batches, source), share),
  );
}

/** What a step takes: its weights, and the version of the index. @param skipped as in `stepRanges` */
export function stretchOfStep(
  schedule: MixtureSchedule,
  globalBatchSize: number,
  step: number,
  skipped: readonly Range[] = [],
): MixtureStretch {
  return schedule.stretchAt(stepSequences(step, globalBatchSize, skipped).first);
}

/** How many sequences of every source the first `step` steps consumed. @param skipped as in `stepRanges` */
export function consumedBy(
  schedule: MixtureSchedule,
  globalBatchSize: number,
  step: number,
  skipped: readonly Range[] = [],
): PerSource<number> {
  if (step === 0) return mapSources(schedule.weights, () => 0);
  const { end } = stepSequences(step, globalBatchSize, skipped);
  const before = skipped.filter((range) => (range.first - 1) * globalBatchSize < end);
  const left = before.map((range) => skippedData(schedule, globalBatchSize, range).ranges);
  return mapSources(schedule.countsBefore(end), (count, source) =>
    left.reduce((rest, ranges) => rest - lengthOf(ofSource(ranges, source)), count),
  );
}

const lengthOf = ({ first, end }: Range) => end - first;

/** Sequences that a run never consumes, because a spike of its loss came with them. JSON-serialisable. */
export interface SkippedData extends Pick<LedgerEntry, 'firstSequence' | 'endSequence' | 'ranges'> {
  /** The steps that would consume them if nothing was skipped. */
  readonly batches: Range;
}

/** The sequences of some batches. */
export function skippedData(schedule: MixtureSchedule, globalBatchSize: number, batches: Range): SkippedData {
  const first = (batches.first - 1) * globalBatchSize;
  const end = (batches.end - 1) * globalBatchSize;
  return { batches, firstSequence: first, endSequence: end, ranges: rangesBetween(schedule, { first, end }) };
}

/** The ledger entry of a committed step. @param skipped as in `stepRanges` */
export function ledgerEntry(
  schedule: MixtureSchedule,
  globalBatchSize: number,
  facts: StepFacts,
  skipped: readonly Range[] = [],
): LedgerEntry {
  const { first, end } = stepSequences(facts.step, globalBatchSize, skipped);
  return {
    step: facts.step,
    generation: facts.generation,
    firstSequence: first,
    endSequence: end,
    ranges: rangesBetween(schedule, { first, end }),
    digest: facts.digest,
    loss: Number.isFinite(facts.loss) ? facts.loss : null,
    applied: facts.applied,
  };
}
