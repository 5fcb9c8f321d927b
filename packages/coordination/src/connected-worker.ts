import type { Backend } from '@weft/config';
import type { DevicePeak, TimeBucket, WorkerMemory } from '@weft/contracts';

/** What a worker does in a run: train as a rank of the ring, or hold experts of the MoE layers. */
export type Role = 'rank' | 'expertWorker';

/** How a worker identifies itself when it connects. */
export interface WorkerIdentity {
  readonly workerId: string;
  readonly hostName: string;
  readonly processId: number;
  /** Where other workers reach its data plane, `host:port`. */
  readonly dataPlaneAddress: string;
  /** Where its /metrics is, `host:port`; empty or absent where it has none. */
  readonly metricsAddress?: string;
  readonly device: string;
  readonly role: Role;
  /** With which backends it computes bf16 in instructions of its own. */
  readonly bf16Backends: readonly Backend[];
  /** Undefined: unknown. */
  readonly memory?: WorkerMemory | undefined;
  /** Undefined: unknown. */
  readonly peak?: DevicePeak | undefined;
}

/** A worker whose stream is open. */
export interface ConnectedWorker extends WorkerIdentity {
  /** Smaller for workers that connected earlier. */
  readonly order: number;
  readonly connectedMs: number;
  /** The run it is a member of; undefined when idle. */
  readonly runId: string | undefined;
  /** The run that it will join under way; absent: none. */
  readonly joining?: Joining | undefined;
  /** What it came back with, while the run's job is paused; absent: nothing. */
  readonly held?: HeldRun | undefined;
  /** It was asked to end, and gets no more work. Absent: it stays. */
  readonly isLeaving?: true;
  /** Generations in a row that did not form with it as a newcomer; absent: none. */
  readonly joinFailures?: number | undefined;
  /** Data-plane addresses of other workers that it could not reach when it last tried; absent: none. */
  readonly cannotReach?: readonly string[] | undefined;
  /** Runs that it could not join, or is not to be in any more; absent: none. */
  readonly unfitFor?: readonly string[];
  /** It was left out of a run because it hung, and may not have ended what it does there; when it was asked. Absent: it was not. */
  readonly hungAskedMs?: number | undefined;
  /** How often it was left out for that since it was last well for long; absent: never. */
  readonly hangs?: number | undefined;
}

/** Where a worker is in its run, by its own words. */
export interface ToldProgress {
  /** Empty while it has none. */
  readonly runId: string;
  readonly generation: number;
  /** The step that it is in, and how many parts of it are done. */
  readonly step: number;
  readonly parts: number;
  /** What it does now. */
  readonly phase: TimeBucket;
  /** What it did last, and how long ago. */
  readonly lastEvent: string;
  readonly lastEventSeconds: number;
  /** Operations of the ring that it has begun, and the bytes that it has sent in all of them. */
  readonly ringOperations: number;
  readonly ringBytes: number;
}

/** The same on the clock of the coordinator. */
export interface MemberProgress extends Omit<ToldProgress, 'lastEventSeconds'> {
  /** When it told so. */
  readonly atMs: number;
  readonly lastEventMs: number;
  /** Since when nothing of it has changed. */
  readonly stillSinceMs: number;
}

/** What a worker says of the run whose state it has kept while it had no coordinator. */
export interface HeldRun {
  readonly runId: string;
  readonly generation: number;
  /** The state is the one after this step. */
  readonly step: number;
  /** The global loss of that step; undefined: the worker did not take it. */
  readonly loss: number | undefined;
  /** It has voted for the next step, with this loss, and holds its reduced gradients; undefined: it has not. */
  readonly votedLoss: number | undefined;
  /** The generation is not over for it: its connections are open. */
  readonly isTraining: boolean;
}

/** How far a worker is that will join a run under way. */
export interface Joining {
  readonly runId: string;
  /** Its engine is open and warm: it can be a member of the next generation. */
  readonly isReady: boolean;
  /** After a generation that did not form with it, not before this time. */
  readonly notBeforeMs: number;
}
