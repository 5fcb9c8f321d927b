export {
  type Attendee,
  type CheckpointFile,
  type ClusterState,
  defaultSettings,
  initialCluster,
  type LiveRun,
  type Run,
  type Settings,
  type StepVote,
  type WorkerIdentity,
} from './cluster-state.js';
export type { Assign, Command, MetricsRow, QueueCommand } from './commands.js';
export { type Decision, decide } from './decide.js';
export { describeRun, type RunView } from './describe.js';
export { newJobOf } from './draft-queue.js';
export type {
  ClusterEvent,
  FoundCheckpoint,
  MemberEvent,
  Outcome,
  RecoveryPolicy,
  StepReport,
  WorkerEvent,
} from './events.js';
export { jobIdOf, ownerOf, sweepJobId } from './job-id.js';
export { mendMetrics } from './metrics.js';
export { type Outlook, outlookOf } from './outlook.js';
export { EMPTY_QUEUE, type NewRunJob, type QueuedJob, type QueueState } from './queue-state.js';
export type { RunFailure, RunRecord } from './records.js';
export { asRunRecord, evolve, isEnded, ledgerRecords, type RunPhase, type RunState, replay } from './run-state.js';
