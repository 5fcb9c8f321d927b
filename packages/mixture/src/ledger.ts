import { assertNever, type PerSource, type SourceId } from '@weft/common';
import type { LedgerEntry } from './ledger-entry.js';

/** One line of the ledger: a step was committed, or the run went back to the state after `fromStep`. */
export type LedgerRecord =
  | { readonly kind: 'committed'; readonly entry: LedgerEntry }
  | { readonly kind: 'resumed'; readonly fromStep: number };

/**
 * What a run has consumed, after folding roll-backs: steps that were committed and later rolled back are gone,
 * because the model that saw them is gone.
 */
export class Ledger {
  /** The steps that count, in the order they were committed. */
  readonly entries: readonly LedgerEntry[];

  private constructor(entries: readonly LedgerEntry[]) {
    this.entries = entries;
  }

  /** Folds the records of a run, in the order they were written. */
  static fold(records: Iterable<LedgerRecord>): Ledger {
    const entries: LedgerEntry[] = [];
    for (const record of records) {
      switch (record.kind) {
        case 'committed':
          entries.push(record.entry);
          break;
        case 'resumed':
          while (entries.length > 0 && entries.at(-1)!.step > record.fromStep) entries.pop();
          break;
        default:
          assertNever(record);
      }
    }
    return new Ledger(entries);
  }

  /** The last committed step; 0 before the first. */
  get lastStep(): number {
    return this.entries.at(-1)?.step ?? 0;
  }

  /** Sequences consumed so far, per source. */
  get consumed(): PerSource<number> {
    const consumed = new Map<SourceId, number>();
    for (const { ranges } of this.entries)
      for (const [source, { first, end }] of Object.entries(ranges))
        consumed.set(source, (consumed.get(source) ?? 0) + end - first);
    return Object.fromEntries(consumed);
  }

  /** What step `step` consumed; undefined when it was not committed, or was rolled back. */
  entryOf(step: number): LedgerEntry | undefined {
    return this.entries.find((entry) => entry.step === step);
  }

  /** The step that consumed the `indexInSource`-th sequence of `source`; undefined when none did, or no such source exists. */
  entryThatConsumed(source: SourceId, indexInSource: number): LedgerEntry | undefined {
    return this.entries.find(({ ranges }) => {
      const range = Object.hasOwn(ranges, source) ? ranges[source] : undefined;
      return range !== undefined && range.first <= indexInSource && indexInSource < range.end;
    });
  }

  /**
   * Is every sequence held exactly once? One sentence per violation, none when the ledger is whole: steps without a
   * gap or a repetition from step 1, global sequences and every source's own ranges without a gap or an overlap.
   */
  problems(): readonly string[] {
    const problems: string[] = [];
    const expect = (what: string, found: number, wanted: number, step: number) => {
      if (found !== wanted) problems.push(`step ${step} starts at ${what} ${found}, where ${wanted} follows`);
    };
    let previous: LedgerEntry | undefined;
    let ends = new Map<SourceId, number>();
    for (const entry of this.entries) {
      const { step, ranges } = entry;
      const nextStep = (previous?.step ?? 0) + 1;
      if (step !== nextStep) problems.push(`step ${step} stands where step ${nextStep} belongs`);
      expect('sequence', entry.firstSequence, previous?.endSequence ?? 0, step);
      for (const [source, { first }] of Object.entries(ranges))
        expect(`${source} sequence`, first, ends.get(source) ?? 0, step);
      const total = Object.values(ranges).reduce((sum, { first, end }) => sum + end - first, 0);
      if (total !== entry.endSequence - entry.firstSequence)
        problems.push(
          `step ${step} consumed ${entry.endSequence - entry.firstSequence} sequences, but its sources sum to ${total}`,
        );
      previous = entry;
      ends = new Map(Object.entries(ranges).map(([source, { end }]) => [source, end]));
    }
    return problems;
  }
}
