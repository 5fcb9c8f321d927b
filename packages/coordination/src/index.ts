export {
  type ClusterState,
  type ConnectedWorker,
  defaultTimeouts,
  type FoundCheckpoint,
  type HeldRun,
  initialCluster,
  type Lookups,
  type MemberProgress,
  type Run,
  rankOf,
  type ShortageOf,
  type Timeouts,
  type ToldProgress,
  type Training,
  type WorkerIdentity,
} from './cluster-state.js';
export type { Assign, Command, FindCheckpoint, QueueCommand } from './commands.js';
export { type Decision, decide } from './decide.js';
export { describeRun, type RunDescription } from './describe.js';
export { findSpike } from './divergence.js';
export { forecastQueue } from './estimates.js';
export type { ClusterEvent, MemberEvent, Outcome, RecoveryPolicy } from './events.js';
export { lookForCheckpoint } from './find-checkpoint.js';
export { InMemoryQueue } from './in-memory-queue.js';
export { repairMetrics } from './metrics.js';
export { describeChange } from './mixture-change.js';
export {
  createRunJob,
  jobOwner,
  type NewRunJob,
  type QueuedJob,
  type QueueState,
  sweepJobId,
} from './queue-state.js';
export type { RunRecord } from './records.js';
export { trainingAgain } from './returning.js';
export {
  applyRecord,
  type KnownCheckpoint,
  ledgerRecords,
  parseRunRecord,
  type RunState,
  replay,
} from './run-state.js';
export { blocksQueue, waitingRuns } from './scheduling.js';
export { type StepHistory, stepHistory } from './step-history.js';
export { learnProgress } from './step-watch.js';
export { Timeline, type TimelineEntry } from './timeline.js';
export { membershipOf, WorkTimes } from './work-times.js';
export { WorkerTable } from './worker-table.js';
