import { assertNever, type PerSource, perSource, SOURCES, type Source } from '@weft/common';
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
    return perSource((source) =>
      this.entries.reduce((sum, { ranges }) => sum + ranges[source].end - ranges[source].first, 0),
    );
  }

  /** What did step `step` eat? `undefined` when it was not committed, or was rolled back. */
  entryOf(step: number): LedgerEntry | undefined {
    return this.entries.find((entry) => entry.step === step);
  }

  /** When was the `indexInSource`-th sequence of `source` eaten? `undefined` when it was not. */
  entryThatAte(source: Source, indexInSource: number): LedgerEntry | undefined {
    return this.entries.find(
      ({ ranges }) => ranges[source].first <= indexInSource && indexInSource < ranges[source].end,
    );
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
    for (const entry of this.entries) {
      const { step, ranges } = entry;
      const nextStep = (previous?.step ?? 0) + 1;
      if (step !== nextStep) problems.push(`step ${step} stands where step ${nextStep} belongs`);
      expect('sequence', entry.firstSequence, previous?.endSequence ?? 0, step);
      for (const source of SOURCES)
        expect(`${source} sequence`, ranges[source].first, previous?.ranges[source].end ?? 0, step);
      const held = SOURCES.reduce((sum, source) => sum + ranges[source].end - ranges[source].first, 0);
      if (held !== entry.endSequence - entry.firstSequence)
        problems.push(
          `step ${step} consumed ${entry.endSequence - entry.firstSequence} sequences, but its sources sum to ${held}`,
        );
      previous = entry;
    }
    return problems;
  }
}
