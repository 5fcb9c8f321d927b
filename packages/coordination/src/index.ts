export {
  type Attendee,
  type ClusterState,
  defaultSettings,
  initialCluster,
  type LiveRun,
  type Run,
  type Settings,
  type WorkerIdentity,
} from './cluster-state.js';
export type { Assign, Command, QueueCommand } from './commands.js';
export { type Decision, decide } from './decide.js';
export { describeRun, type RunDescription } from './describe.js';
export { newJobOf } from './draft-queue.js';
export type {
  ClusterEvent,
  FoundCheckpoint,
  MemberEvent,
  Outcome,
  RecoveryPolicy,
  WorkerEvent,
} from './events.js';
export { jobIdOf, ownerOf, sweepJobId } from './job-id.js';
export { mendMetrics } from './metrics.js';
export { type Outlook, outlookOf } from './outlook.js';
export { EMPTY_QUEUE, type NewRunJob, type QueuedJob, type QueueState } from './queue-state.js';
export type { RunRecord } from './records.js';
export { asRunRecord, evolve, isEnded, ledgerRecords, type RunState, replay } from './run-state.js';
