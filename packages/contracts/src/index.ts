export type { CheckpointFile } from './checkpoint-file.js';
export type { HeldOutLoss } from './held-out-loss.js';
export { committedAtMs, type MetricsRow, parseMetricsRow } from './metrics-row.js';
export { expertImbalance, type MoeLayerStats, type MoeReport } from './moe-report.js';
export {
  hasEnded,
  type RunFailure,
  type RunStatus,
  type RunView,
  runViewFromProto,
  runViewToProto,
} from './run-view.js';
export { type RunGeneration, type StepReport, stepReportFromProto, stepReportToProto } from './step-report.js';
export type { StepVote } from './step-vote.js';
