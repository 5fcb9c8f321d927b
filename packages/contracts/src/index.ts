export type { BatchCounts, RemoteCounts } from './batch-counts.js';
export type { CheckpointFile } from './checkpoint-file.js';
export { curveValues } from './curve-values.js';
export type { HeldOutLoss } from './held-out-loss.js';
export { committedAtMs, type MetricsRow, parseMetricsRow, type TaskScoresRow } from './metrics-row.js';
export { expertImbalance, type MoeLayerStats, type MoeReport } from './moe-report.js';
export {
  MOST_RUNS,
  type PageConsumptions,
  type PageCurves,
  type PageError,
  type PageExperts,
  type PageFit,
  type PageLogLine,
  type PageLogs,
  type PageMember,
  type PageOverview,
  type PagePrediction,
  type PageRun,
  type PageStep,
  type PageSweep,
  type PageSweepDetail,
  type PageTimeline,
  type PageWorker,
} from './page-api.js';
export { parseRunRanks, type RankStep, type RunRank, type RunRanks } from './run-ranks.js';
export {
  hasEnded,
  RUN_STATE_VERSION,
  type RunFailure,
  type RunStatus,
  type RunView,
} from './run-view.js';
export { runViewFromProto, runViewToProto } from './run-view-proto.js';
export type { SegmentContents, SequenceContents } from './sequence-contents.js';
export { type RunGeneration, type StepReport, stepReportFromProto, stepReportToProto } from './step-report.js';
export type { StepVote } from './step-vote.js';
export { averageScores, type ScoreAverages, type TaskScore, type TaskScores } from './task-scores.js';
export {
  addTime,
  goodput,
  noTime,
  parseRunGoodput,
  type RunGoodput,
  type StoredWorkTimes,
  TIME_BUCKET_NAMES,
  TIME_BUCKETS,
  type TimeBucket,
  timeBucketOf,
  totalSeconds,
  type WorkTime,
  workTimeFromProto,
  workTimeToProto,
} from './work-time.js';
export type { DevicePeak, Shortage, WorkerMemory } from './worker-memory.js';
