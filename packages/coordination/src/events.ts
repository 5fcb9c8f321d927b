import type { RunConfig } from '@weft/config';
import type { CheckpointFile, RunFailure, StepReport, StepVote } from '@weft/contracts';
import type { WorkerIdentity } from './cluster-state.js';
import type { QueueState } from './queue-state.js';

/** Everything that can happen to a coordinator. */
export type ClusterEvent =
  /** Once, before all others, when the runs of a home were replayed. */
  | {
      readonly kind: 'recovered';
      readonly policy: RecoveryPolicy;
      readonly queue: QueueState;
      /** Ids of jobs that have ended and that the store still knows. */
      readonly endedJobIds: ReadonlySet<string>;
    }
  /** What the store's queue holds now. */
  | { readonly kind: 'queueListed'; readonly queue: QueueState }
  /** Time went by. */
  | { readonly kind: 'tick' }
  | {
      readonly kind: 'launch';
      readonly runId: string;
      readonly config: RunConfig;
      readonly weftVersion: string;
      /** The sweep it belongs to. */
      readonly parent?: string;
    }
  | {
      readonly kind: 'resume';
      readonly runId: string;
      /** Undefined: as before. */
      readonly workers: number | undefined;
      /** The new total; undefined: as before. */
      readonly steps: number | undefined;
      /** Undefined: as before. */
      readonly expertWorkers?: number | undefined;
      /** What lies on the disk now. */
      readonly found: FoundCheckpoint;
    }
  | { readonly kind: 'stop'; readonly runId: string; readonly saveCheckpoint: boolean }
  /** The answer to the command `findCheckpoint`. */
  | { readonly kind: 'checkpointFound'; readonly runId: string; readonly found: FoundCheckpoint }
  /** An effect failed so that the run cannot go on. */
  | { readonly kind: 'runFailed'; readonly runId: string; readonly failure: RunFailure }
  | { readonly kind: 'attended'; readonly worker: WorkerIdentity }
  /** A worker's stream ended. */
  | { readonly kind: 'left'; readonly workerId: string; readonly reason: string }
  | WorkerEvent;

/** What a worker says. */
export type WorkerEvent = { readonly kind: 'heartbeat'; readonly workerId: string } | MemberEvent;

/** What a worker says as a member of a run. */
export type MemberEvent =
  | (FromMember & { readonly kind: 'voted'; readonly vote: StepVote })
  | (FromMember & { readonly kind: 'reported'; readonly report: StepReport })
  | (FromMember & { readonly kind: 'partSaved'; readonly step: number; readonly files: readonly CheckpointFile[] })
  | (FromMember & { readonly kind: 'manifestWritten'; readonly step: number; readonly directory: string })
  | (FromMember & { readonly kind: 'ringBroken'; readonly step: number; readonly reason: string })
  | (FromMember & { readonly kind: 'ended'; readonly outcome: Outcome });

export type MemberEventOf<Kind extends MemberEvent['kind']> = Extract<MemberEvent, { readonly kind: Kind }>;

interface FromMember {
  readonly workerId: string;
  readonly runId: string;
  readonly generation: number;
}

/** How a rank's training ended. */
export type Outcome =
  | { readonly kind: 'finished' | 'stopped'; readonly step: number }
  | { readonly kind: 'failed'; readonly step: number; readonly failure: RunFailure };

/** `auto`: runs that were under way go on by themselves. `manual`: they wait for `weft resume`. */
export type RecoveryPolicy = 'auto' | 'manual';

/** The newest checkpoint of a run that verifies and lies within its log, and the newer ones that do not. */
export interface FoundCheckpoint {
  readonly checkpoint: { readonly step: number; readonly directory: string } | undefined;
  readonly skipped: readonly { readonly directory: string; readonly reason: string }[];
}
