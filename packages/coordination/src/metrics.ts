import { mapSources } from '@weft/common';
import {
  averageScores,
  type HeldOutLoss,
  type MetricsRow,
  type StepReport,
  type TaskScores,
  type TaskScoresRow,
} from '@weft/contracts';
import type { CommittedStep } from './cluster-state.js';
import type { DecisionBuilder } from './decision-builder.js';
import type { EventOf } from './events.js';
import type { Committed, RunRecord } from './records.js';

/** Handles rank 0's report about a committed step: writes the row of the step. */
export function stepReported(builder: DecisionBuilder, { runId, generation, report }: EventOf<'reported'>): string {
  const { live } = builder.run(runId);
  if (live.state !== 'training' && live.state !== 'reforming') return '';
  // A report of the generation before counts too: its rank 0 may still be there.
  const committed = live.unreported.find((other) => other.step === report.step && other.generation === generation);
  if (committed === undefined) return `a report of step ${report.step} of run ${runId} is not awaited`;
  builder.command({ kind: 'appendMetrics', runId, row: metricsRow(committed, report) });
  builder.setLive(runId, { ...live, unreported: live.unreported.filter((other) => other !== committed) });
  return '';
}

/** Writes the rows of steps whose reports will not come. */
export function flushMetrics(builder: DecisionBuilder, runId: string, steps: readonly CommittedStep[]): void {
  for (const step of steps) builder.command({ kind: 'appendMetrics', runId, row: metricsRow(step, undefined) });
}

/** The part of a step's row that comes from the record of its commit. */
export function committedStep({ entry, gradNorm, time }: Committed): CommittedStep {
  const { step, generation, loss, ranges } = entry;
  const sequences = mapSources(ranges, ({ first, end }) => end - first);
  return { step, generation, loss, gradNorm, sequences, time };
}

/**
 * The rows that belong to a log, one per step: rows of steps that were rolled back are dropped, and rows that were lost
 * with a coordinator are made from the log, without what only rank 0 knew.
 */
export function repairMetrics(rows: readonly MetricsRow[], log: Iterable<RunRecord>): readonly MetricsRow[] {
  const written = new Map(rows.map((row) => [`${row.generation}/${row.step}`, row]));
  const repaired = new Map<number, MetricsRow>();
  for (const record of log) {
    if (record.kind === 'committed') {
      const { step, generation } = record.entry;
      repaired.set(step, written.get(`${generation}/${step}`) ?? metricsRow(committedStep(record), undefined));
    }
    const backTo = stepBackTo(record);
    if (backTo !== undefined) for (const step of repaired.keys()) if (step > backTo) repaired.delete(step);
  }
  return [...repaired.values()];
}

/** The step after which nothing counts that came before a record; undefined where all of it does. */
function stepBackTo(record: RunRecord): number | undefined {
  if (record.kind === 'resumed') return record.fromStep;
  return record.kind === 'rolledBack' ? record.toStep : undefined;
}

function metricsRow(committed: CommittedStep, report: StepReport | undefined): MetricsRow {
  const { step, loss, gradNorm, sequences, generation, time } = committed;
  return {
    step,
    loss,
    learningRate: report?.learningRate ?? null,
    gradNorm,
    tokensPerSecond: report?.tokensPerSecond ?? null,
    ...(report?.sourceLoss === undefined ? {} : { sourceLoss: mapSources(report.sourceLoss, finite) }),
    sequences,
    seconds: {
      data: report?.dataSeconds ?? null,
      compute: report?.computeSeconds ?? null,
      communication: report?.communicationSeconds ?? null,
      apply: report?.applySeconds ?? null,
    },
    ...(report?.heldOut === undefined ? {} : { heldOut: finiteHeldOut(report.heldOut) }),
    ...(report?.measures === undefined ? {} : { measures: report.measures }),
    ...(report?.taskScores === undefined ? {} : { taskScores: taskScoresRow(report.taskScores) }),
    ...(report?.moe === undefined ? {} : { moe: report.moe }),
    generation,
    time,
  };
}

/** JSON has no NaN and no infinity. */
const finite = (value: number | null) => (value !== null && Number.isFinite(value) ? value : null);

function taskScoresRow({ scores, seconds }: TaskScores): TaskScoresRow {
  const names = [...new Set(scores.map(({ task }) => task))];
  const ofTask = (name: string) => scores.filter(({ task }) => task === name);
  const byShots = (name: string) => Object.fromEntries(ofTask(name).map(({ shots, score }) => [shots, finite(score)]));
  const { average, textAverage } = averageScores(scores);
  return {
    scores: Object.fromEntries(names.map((name) => [name, byShots(name)])),
    average: mapSources(average, finite),
    textAverage: mapSources(textAverage, finite),
    seconds,
  };
}

function finiteHeldOut({ loss, sources, seconds }: HeldOutLoss): NonNullable<MetricsRow['heldOut']> {
  return { loss: finite(loss), sources: mapSources(sources, finite), seconds };
}
