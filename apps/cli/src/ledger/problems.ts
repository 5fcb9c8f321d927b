import { SOURCES } from '@weft/common';
import type { RunConfig } from '@weft/config';
import { type Ledger, MixtureSchedule, stepRanges } from '@weft/mixture';

/**
 * What is wrong with a ledger, one sentence each; nothing when every sequence was consumed exactly once and every step
 * took what the mixture gives it.
 */
export function ledgerProblems(ledger: Ledger, { data, globalBatchSize }: RunConfig): string[] {
  const schedule = new MixtureSchedule(data.weights);
  const unscheduled = ledger.entries.flatMap(({ step, ranges }) => {
    const wanted = stepRanges(schedule, globalBatchSize, step);
    return SOURCES.filter(
      (source) => ranges[source].first !== wanted[source].first || ranges[source].end !== wanted[source].end,
    ).map((source) => `step ${step} took other ${source} sequences than the mixture gives it`);
  });
  return [...ledger.problems(), ...unscheduled];
}
