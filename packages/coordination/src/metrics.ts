import { perSource } from '@weft/common';
import type { HeldOutLoss, MetricsRow, StepReport } from '@weft/contracts';
import type { CommittedStep } from './cluster-state.js';
import type { Draft } from './draft.js';
import type { MemberEventOf } from './events.js';
import type { Committed, RunRecord } from './records.js';

/** Rank 0's report completes a committed step: its row can be written. */
export function reported(draft: Draft, { runId, generation, report }: MemberEventOf<'reported'>): string {
  const { live } = draft.run(runId);
  if (live.stage !== 'training' && live.stage !== 'reforming') return '';
  // Also a report from the generation before: rank 0 may have outlived it.
  const committed = live.unreported.find((other) => other.step === report.step && other.generation === generation);
  if (committed === undefined) return `a report of step ${report.step} of run ${runId} is not awaited`;
  draft.command({ kind: 'appendMetrics', runId, row: row(committed, report) });
  draft.setLive(runId, { ...live, unreported: live.unreported.filter((other) => other !== committed) });
  return '';
}

/** Writes the rows of steps whose reports will not come any more. */
export function flushMetrics(draft: Draft, runId: string, steps: readonly CommittedStep[]): void {
  for (const step of steps) draft.command({ kind: 'appendMetrics', runId, row: row(step, undefined) });
}

/** What a committed step puts into its row. */
export function committedStep({ entry, gradNorm, time }: Committed): CommittedStep {
  const { step, generation, loss, ranges } = entry;
  const sequences = perSource((source) => ranges[source].end - ranges[source].first);
  return { step, generation, loss, gradNorm, sequences, time };
}

/**
 * The rows that a log asks for, one per step that counts: those of steps rolled back are cut off, and those that were
 * lost with a coordinator are written from the log.
 */
export function mendMetrics(rows: readonly MetricsRow[], log: Iterable<RunRecord>): readonly MetricsRow[] {
  const written = new Map(rows.map((row) => [`${row.generation}/${row.step}`, row]));
  const mended = new Map<number, MetricsRow>();
  for (const record of log) {
    if (record.kind === 'committed') {
      const { step, generation } = record.entry;
      mended.set(step, written.get(`${generation}/${step}`) ?? row(committedStep(record), undefined));
    }
    if (record.kind === 'resumed') for (const step of mended.keys()) if (step > record.fromStep) mended.delete(step);
  }
  return [...mended.values()];
}

function row(committed: CommittedStep, report: StepReport | undefined): MetricsRow {
  const { step, loss, gradNorm, sequences, generation, time } = committed;
  return {
    step,
    loss,
    learningRate: report?.learningRate ?? null,
    gradNorm,
    tokensPerSecond: report?.tokensPerSecond ?? null,
    sequences,
    seconds: {
      data: report?.dataSeconds ?? null,
      compute: report?.computeSeconds ?? null,
      communication: report?.communicationSeconds ?? null,
      apply: report?.applySeconds ?? null,
    },
    ...(report?.heldOut === undefined ? {} : { heldOut: heldOutOf(report.heldOut) }),
    ...(report?.moe === undefined ? {} : { moe: report.moe }),
    generation,
    time,
  };
}

function heldOutOf({ loss, sources, seconds }: HeldOutLoss): NonNullable<MetricsRow['heldOut']> {
  const finite = (value: number | null) => (value !== null && Number.isFinite(value) ? value : null);
  return { loss: finite(loss), sources: perSource((source) => finite(sources[source])), seconds };
}
