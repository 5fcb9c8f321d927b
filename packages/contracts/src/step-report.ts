import type { StepReport as StepReportMessage } from '@weft/proto';
import { type HeldOutLoss, heldOutLossFromProto, heldOutLossToProto } from './held-out-loss.js';
import { type MoeReport, moeReportToProto } from './moe-report.js';

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
  /** Absent for models without MoE layers. */
  readonly moe?: MoeReport | undefined;
  /** Absent when no evaluation followed the step. */
  readonly heldOut?: HeldOutLoss | undefined;
}

/** A generation of a run, to which messages of workers refer. */
export interface RunGeneration {
  readonly runId: string;
  readonly generation: number;
}

/** A report of a generation as its message. */
export function stepReportToProto(
  { runId, generation }: RunGeneration,
  { moe, heldOut, ...report }: StepReport,
): StepReportMessage {
  return {
    ...report,
    runId,
    generation,
    moe: moe && moeReportToProto(moe),
    heldOut: heldOut && heldOutLossToProto(heldOut),
  };
}

/** The report in a message. */
export function stepReportFromProto({ runId, generation, heldOut, ...report }: StepReportMessage): StepReport {
  return { ...report, heldOut: heldOut && heldOutLossFromProto(heldOut) };
}
