import type { StepReport as StepReportMessage } from '@weft/proto';
import { type HeldOutLoss, heldOutLossFromProto, heldOutLossToProto } from './held-out-loss.js';
import { type MoeReport, moeReportToProto } from './moe-report.js';

/** Rank 0's account of an applied step: what it adds to the commit makes one row of `metrics.jsonl`. */
export interface StepReport {
  readonly step: number;
  readonly learningRate: number;
  /** Positions of the global batch per second. */
  readonly tokensPerSecond: number;
  readonly dataSeconds: number;
  readonly computeSeconds: number;
  /** Waiting for the all-reduce once the gradients are computed, and for the decision. */
  readonly communicationSeconds: number;
  readonly applySeconds: number;
  /** Absent for models without MoE layers. */
  readonly moe?: MoeReport | undefined;
  /** Absent where the step was not followed by an evaluation. */
  readonly heldOut?: HeldOutLoss | undefined;
}

/** Which generation of which run a worker's message is about. */
export interface RunGeneration {
  readonly runId: string;
  readonly generation: number;
}

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

export function stepReportFromProto({ runId, generation, heldOut, ...report }: StepReportMessage): StepReport {
  return { ...report, heldOut: heldOut && heldOutLossFromProto(heldOut) };
}
