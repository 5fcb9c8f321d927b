import { assertNever, type PerSource, type SourceId } from '@weft/common';
import type { Range } from '@weft/topology';
import type { LedgerEntry, SkippedData } from './ledger-entry.js';

/**
 * One line of the ledger: a step was committed; the run went back to the state after `fromStep`; or it went back to the one
 * after `toStep`, and will never consume some of the sequences that follow.
 */
export type LedgerRecord =
  | { readonly kind: 'committed'; readonly entry: LedgerEntry }
  | { readonly kind: 'resumed'; readonly fromStep: number }
  | { readonly kind: 'rolledBack'; readonly toStep: number; readonly skipped: SkippedData };

/**
 * What a run has consumed, after folding roll-backs: steps that were committed and later rolled back are gone,
 * because the model that saw them is gone.
 */
export class Ledger {
  /** The steps that count, in the order they were committed. */
  readonly entries: readonly LedgerEntry[];
  /** What is never consumed, in rising order. */
  readonly skipped: readonly SkippedData[];

  private constructor(entries: readonly LedgerEntry[], skipped: readonly SkippedData[]) {
    this.entries = entries;
    this.skipped = skipped;
  }

  /** Folds the records of a run, in the order they were written. */
  static fold(records: Iterable<LedgerRecord>): Ledger {
    const entries: LedgerEntry[] = [];
    let skipped: readonly SkippedData[] = [];
    const goBack = (step: number) => {
      while (entries.length > 0 && entries.at(-1)!.step > step) entries.pop();
    };
    for (const record of records) {
      switch (record.kind) {
        case 'committed':
          entries.push(record.entry);
          break;
        case 'resumed':
          goBack(record.fromStep);
          break;
        case 'rolledBack':
          goBack(record.toStep);
          skipped = withSkipped(skipped, record.skipped);
          break;
        default:
          assertNever(record);
      }
    }
    return new Ledger(entries, skipped);
  }

  /** The last committed step; 0 before the first. */
  get lastStep(): number {
    return this.entries.at(-1)?.step ?? 0;
  }

  /** How many sequences of a source were consumed so far; 0 for a source the run does not have. */
  consumed(source: SourceId): number {
    return this.entries.reduce((sum, { ranges }) => {
      const { first, end } = rangeOf(ranges, source);
      return sum + end - first;
    }, 0);
  }

  /** What step `step` consumed; undefined when it was not committed, or was rolled back. */
  entryOf(step: number): LedgerEntry | undefined {
    return this.entries.find((entry) => entry.step === step);
  }

  /** The step that consumed the `indexInSource`-th sequence of `source`; undefined when none did, or no such source exists. */
  entryThatConsumed(source: SourceId, indexInSource: number): LedgerEntry | undefined {
    return this.entries.find(({ ranges }) => {
      const { first, end } = rangeOf(ranges, source);
      return first <= indexInSource && indexInSource < end;
    });
  }

  /**
   * Is every sequence held exactly once? One sentence per violation, none when the ledger is whole: steps without a
   * gap or a repetition from step 1, global sequences and every source's own ranges without an overlap, and without a gap but
   * for what is skipped.
   */
  problems(): readonly string[] {
    const problems: string[] = [];
    const expect = (what: string, found: number, wanted: number, step: number) => {
      if (found !== wanted) problems.push(`step ${step} starts at ${what} ${found}, where ${wanted} follows`);
    };
    let previous: LedgerEntry | undefined;
    const skipped = [...this.skipped];
    for (const entry of this.entries) {
      const { step, ranges } = entry;
      const nextStep = (previous?.step ?? 0) + 1;
      if (step !== nextStep) problems.push(`step ${step} stands where step ${nextStep} belongs`);
      let before: Pick<LedgerEntry, 'endSequence' | 'ranges'> | undefined = previous;
      while (skipped[0] !== undefined && skipped[0].firstSequence === (before?.endSequence ?? 0))
        before = skipped.shift();
      expect('sequence', entry.firstSequence, before?.endSequence ?? 0, step);
      for (const [source, { first }] of Object.entries(ranges))
        expect(`${source} sequence`, first, rangeOf(before?.ranges ?? {}, source).end, step);
      const total = Object.values(ranges).reduce((sum, { first, end }) => sum + end - first, 0);
      if (total !== entry.endSequence - entry.firstSequence)
        problems.push(
          `step ${step} consumed ${entry.endSequence - entry.firstSequence} sequences, but its sources sum to ${total}`,
        );
      previous = entry;
    }
    return problems;
  }
}

/** What both leave out; the new one holds whatever of the old ones lies within it. */
function withSkipped(skipped: readonly SkippedData[], added: SkippedData): readonly SkippedData[] {
  const apart = skipped.filter(
    ({ firstSequence, endSequence }) => endSequence <= added.firstSequence || firstSequence >= added.endSequence,
  );
  return [...apart, added].toSorted((a, b) => a.firstSequence - b.firstSequence);
}

const NOTHING: Range = { first: 0, end: 0 };

const rangeOf = (ranges: PerSource<Range>, source: SourceId): Range =>
  Object.hasOwn(ranges, source) ? (ranges[source] ?? NOTHING) : NOTHING;
