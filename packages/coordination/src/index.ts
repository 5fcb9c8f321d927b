export {
  type ClusterState,
  defaultTimeouts,
  initialCluster,
  type Timeouts,
  type WorkerIdentity,
} from './cluster-state.js';
export type { Assign, Command, QueueCommand } from './commands.js';
export { type Decision, decide } from './decide.js';
export { describeRun, type RunDescription } from './describe.js';
export { forecastQueue } from './estimates.js';
export type { ClusterEvent, FoundCheckpoint, MemberEvent, Outcome, RecoveryPolicy } from './events.js';
export { InMemoryQueue } from './in-memory-queue.js';
export { repairMetrics } from './metrics.js';
export {
  createRunJob,
  jobOwner,
  type NewRunJob,
  type QueuedJob,
  type QueueState,
  sweepJobId,
} from './queue-state.js';
export type { RunRecord } from './records.js';
export { applyRecord, ledgerRecords, parseRunRecord, RUN_STATE_VERSION, type RunState, replay } from './run-state.js';
export { blocksQueue, waitingRuns } from './scheduling.js';
