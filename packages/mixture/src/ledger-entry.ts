import { mapSources, ofSource, type PerSource } from '@weft/common';
import { type Range, stepSequences } from '@weft/topology';
import type { MixtureSchedule } from './mixture-schedule.js';

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

/** The ranges of every source that step `step` consumes; a pure function of the schedule. */
export function stepRanges(schedule: MixtureSchedule, globalBatchSize: number, step: number): PerSource<Range> {
  const { first, end } = stepSequences(step, globalBatchSize);
  const before = schedule.countsBefore(first);
  const after = schedule.countsBefore(end);
  return mapSources(before, (first, source) => ({ first, end: ofSource(after, source) }));
}

/** The ledger entry of a committed step. */
export function ledgerEntry(schedule: MixtureSchedule, globalBatchSize: number, facts: StepFacts): LedgerEntry {
  const { first, end } = stepSequences(facts.step, globalBatchSize);
  return {
    step: facts.step,
    generation: facts.generation,
    firstSequence: first,
    endSequence: end,
    ranges: stepRanges(schedule, globalBatchSize, facts.step),
    digest: facts.digest,
    loss: Number.isFinite(facts.loss) ? facts.loss : null,
    applied: facts.applied,
  };
}
