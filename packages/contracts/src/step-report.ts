import type { PerSource } from '@weft/common';
import type { StepReport as StepReportMessage } from '@weft/proto';
import { type HeldOutLoss, heldOutLossFromProto, heldOutLossToProto } from './held-out-loss.js';
import { type MoeReport, moeReportToProto } from './moe-report.js';
import { type TaskScores, taskScoresFromProto, taskScoresToProto } from './task-scores.js';

/** Rank 0's measurements of a step. Together with the commit they make one row of `metrics.jsonl`. */
export interface StepReport {
  readonly step: number;
  readonly learningRate: number;
  /** Positions of the global batch per second. */
  readonly tokensPerSecond: number;
  readonly dataSeconds: number;
  readonly computeSeconds: number;
  /** Time spent waiting for the all-reduce after the gradients were computed, and for the decision. */
  readonly communicationSeconds: number;
  readonly applySeconds: number;
  /** Numbers of the task's own, by name, such as its accuracy. Absent for tasks that have none. */
  readonly measures?: Readonly<Record<string, number>> | undefined;
  /** Mean loss of each source over its text tokens; a source without any is left out. Absent for tasks that do not tell. */
  readonly sourceLoss?: PerSource<number> | undefined;
  /** Absent for models without MoE layers. */
  readonly moe?: MoeReport | undefined;
  /** Absent when no evaluation followed the step. */
  readonly heldOut?: HeldOutLoss | undefined;
  /** Absent when no tasks were scored after the step. */
  readonly taskScores?: TaskScores | undefined;
}

/** A generation of a run, to which messages of workers refer. */
export interface RunGeneration {
  readonly runId: string;
  readonly generation: number;
}

/** A report of a generation as its message. */
export function stepReportToProto(
  { runId, generation }: RunGeneration,
  { measures, sourceLoss, moe, heldOut, taskScores, ...report }: StepReport,
): StepReportMessage {
  return {
    ...report,
    runId,
    generation,
    measures: { ...measures },
    sourceLoss: { ...sourceLoss },
    moe: moe && moeReportToProto(moe),
    heldOut: heldOut && heldOutLossToProto(heldOut),
    taskScores: taskScores && taskScoresToProto(taskScores),
  };
}

/** The report in a message. */
export function stepReportFromProto({
  runId,
  generation,
  measures,
  sourceLoss,
  heldOut,
  taskScores,
  ...report
}: StepReportMessage): StepReport {
  return {
    ...report,
    measures: Object.keys(measures).length === 0 ? undefined : measures,
    sourceLoss: Object.keys(sourceLoss).length === 0 ? undefined : sourceLoss,
    heldOut: heldOut && heldOutLossFromProto(heldOut),
    taskScores: taskScores && taskScoresFromProto(taskScores),
  };
}
