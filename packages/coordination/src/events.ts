import type { RunConfig } from '@weft/config';
import type { CheckpointFile, StepVote, WorkerIdentity } from './cluster-state.js';
import type { QueueState } from './queue-state.js';
import type { RunFailure } from './records.js';

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

/** Rank 0's account of a step. */
export interface StepReport {
  readonly step: number;
  readonly learningRate: number;
  readonly tokensPerSecond: number;
  readonly dataSeconds: number;
  readonly computeSeconds: number;
  readonly communicationSeconds: number;
  readonly applySeconds: number;
  /** Absent after steps that were not evaluated. */
  readonly heldOut?: HeldOutReport | undefined;
  /** Absent for models without experts. */
  readonly experts?: ExpertReport | undefined;
}

/** What the MoE layers did in a step, over all ranks; the exchange with the expert workers as rank 0 saw it. */
export interface ExpertReport {
  readonly layers: readonly ExpertLayerReport[];
  readonly bytesSent: number;
  readonly bytesReceived: number;
  readonly waitingSeconds: number;
}

export interface ExpertLayerReport {
  readonly layer: number;
  /** By expert: choices of the router, before any were dropped. */
  readonly routed: readonly number[];
  /** By expert: choices that found no room. */
  readonly dropped: readonly number[];
  /** Of all choices, 0 to 1. */
  readonly droppedShare: number;
  readonly loadBalanceLoss: number;
  readonly routerZLoss: number;
  /** Nats. */
  readonly routerEntropy: number;
}

/** What held-out sequences cost, in nats per text token; a source that takes no part is absent. */
export interface HeldOutReport {
  readonly loss: number;
  readonly captioned?: number | undefined;
  readonly interleaved?: number | undefined;
  readonly text?: number | undefined;
  readonly seconds: number;
}
