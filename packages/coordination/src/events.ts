import type { RunConfig } from '@weft/config';
import type { CheckpointFile, RunFailure, StepReport, StepVote } from '@weft/contracts';
import type { FoundCheckpoint, HeldRun, WorkerIdentity } from './cluster-state.js';
import type { QueueState } from './queue-state.js';

/** Everything that can happen to a coordinator: requests, connections, messages of workers, answers, time. */
export type ClusterEvent =
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
      /** Changes of fields of `engine`, such as `engine.mesh.fsdp=4`; default: none. */
      readonly settings?: readonly string[];
      /** Undefined: go on from the newest checkpoint. 0: from the beginning. Otherwise the step of a checkpoint. */
      readonly fromStep?: number | undefined;
      /** The checkpoint to go on from, looked up for this request. */
      readonly found: FoundCheckpoint;
    }
  /** The mixture of the run changes from a step on. */
  | {
      readonly kind: 'changeMixture';
      readonly runId: string;
      readonly fromStep: number;
      /** By source or dataset, as a person writes them; none: they stay. */
      readonly weights: Readonly<Record<string, string>>;
      /** The version of the packed index; undefined: as before. */
      readonly indexVersion: number | undefined;
      /** Why, as a person says it; empty: nobody said. */
      readonly reason: string;
    }
  | {
      readonly kind: 'stop';
      readonly runId: string;
      readonly saveCheckpoint: boolean;
      /** Why, when it ends at once; default: as asked. */
      readonly reason?: string;
    }
  /** Save a checkpoint after the current step, and go on. */
  | { readonly kind: 'saveCheckpoint'; readonly runId: string }
  /** A worker's stream is open. `held`: the run whose state it still has, from before it lost its coordinator. */
  | { readonly kind: 'workerConnected'; readonly worker: WorkerIdentity; readonly held?: HeldRun | undefined }
  /** The worker's stream ended. */
  | { readonly kind: 'workerDisconnected'; readonly workerId: string; readonly reason: string }
  /** The answer to the command `prepare`: the worker can join the run, or says why not. */
  | {
      readonly kind: 'prepared';
      readonly workerId: string;
      readonly runId: string;
      readonly failure: RunFailure | undefined;
    }
  /** The answer to the command `probe`. */
  | { readonly kind: 'probed'; readonly workerId: string; readonly reached: readonly string[] }
  /** The worker was asked to end. It stays until its run has let it go. */
  | { readonly kind: 'leaving'; readonly workerId: string }
  | MemberEvent
  /** Time has passed; comes several times a second. */
  | { readonly kind: 'tick' }
  /** Comes once, before all others, when the coordinator has replayed the logs of its runs. */
  | {
      readonly kind: 'recovered';
      readonly policy: RecoveryPolicy;
      readonly queue: QueueState;
      /** Ids of jobs that have ended and that the store still knows. */
      readonly endedJobIds: ReadonlySet<string>;
    }
  /** The answer to the command `findCheckpoint`. */
  | { readonly kind: 'checkpointFound'; readonly runId: string; readonly found: FoundCheckpoint }
  /** A command failed that the run cannot do without. */
  | { readonly kind: 'runFailed'; readonly runId: string; readonly failure: RunFailure }
  /** The store's queue as it is now. */
  | { readonly kind: 'queueListed'; readonly queue: QueueState };

/** What a worker reports as a member of a generation of a run. */
export type MemberEvent =
  | (FromMember & { readonly kind: 'voted'; readonly vote: StepVote })
  | (FromMember & { readonly kind: 'reported'; readonly report: StepReport })
  | (FromMember & {
      readonly kind: 'partSaved';
      readonly step: number;
      readonly files: readonly CheckpointFile[];
      /** For how long training stood still on this member to begin it; undefined: unknown. */
      readonly stallSeconds?: number | undefined;
    })
  | (FromMember & {
      readonly kind: 'manifestWritten';
      readonly step: number;
      readonly directory: string;
      /** Undefined: unknown. */
      readonly manifestSha256?: string | undefined;
    })
  | (FromMember & {
      readonly kind: 'ringBroken';
      readonly step: number;
      readonly reason: string;
      /** Data-plane addresses of members that it could not reach; default: none. */
      readonly unreachable?: readonly string[];
    })
  | (FromMember & { readonly kind: 'ended'; readonly outcome: Outcome });

interface FromMember {
  readonly workerId: string;
  readonly runId: string;
  readonly generation: number;
}

/** The event of one kind. */
export type EventOf<Kind extends ClusterEvent['kind']> = Extract<ClusterEvent, { readonly kind: Kind }>;

/** How a member's training ended. */
export type Outcome =
  | { readonly kind: 'finished' | 'stopped'; readonly step: number }
  | { readonly kind: 'failed'; readonly step: number; readonly failure: RunFailure };

/** What a restarted coordinator does with interrupted runs. `auto`: they go on. `manual`: they wait for `weft resume`. */
export type RecoveryPolicy = 'auto' | 'manual';
