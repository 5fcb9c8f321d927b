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
export type { Assign, Command, MetricsRow } from './commands.js';
export { type Decision, decide } from './decide.js';
export { describeRun, type RunView } from './describe.js';
export type {
  ClusterEvent,
  FoundCheckpoint,
  MemberEvent,
  Outcome,
  RecoveryPolicy,
  StepReport,
  WorkerEvent,
} from './events.js';
export { mendMetrics } from './metrics.js';
export type { RunFailure, RunRecord } from './records.js';
export { asRunRecord, evolve, isEnded, ledgerRecords, type RunPhase, type RunState, replay } from './run-state.js';
