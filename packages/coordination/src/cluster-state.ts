import type { PerSource } from '@weft/common';
import type { CheckpointFile, StepVote } from '@weft/contracts';
import type { Paces } from './pace.js';
import { EMPTY_QUEUE, type QueueState } from './queue-state.js';
import type { Role } from './roles.js';
import type { RunState } from './run-state.js';

/** What `decide` knows: every run, and what can be known of the workers only while they attend. */
export interface ClusterState {
  readonly settings: Settings;
  /** By workerId. */
  readonly workers: ReadonlyMap<string, Attendee>;
  /** By runId, in the order they were launched. */
  readonly runs: ReadonlyMap<string, Run>;
  /** Who is at work and who waits, in order. Every run that has not ended has its job here. */
  readonly queue: QueueState;
  /** How long steps took. */
  readonly paces: Paces;
  /** How many workers have attended so far; orders them. */
  readonly attended: number;
  readonly lastTickMs: number | undefined;
}

/** The patience of the coordinator. */
export interface Settings {
  /** A worker that gave no sign of life for so long is lost. */
  readonly heartbeatTimeoutMs: number;
  /** After a loss, how long to wait for further ones (a host dies with all its workers) before the ring forms anew. */
  readonly settleMs: number;
  /** How long a rank may be silent after another rank voted for the same step. */
  readonly voteTimeoutMs: number;
  /** So many steps refused in a row, because their gradients were not finite, end the run. */
  readonly maxSkippedSteps: number;
  /** So many rings broken in a row, without a step between and with nobody lost, end the run. */
  readonly maxRingFailures: number;
  /** So long the workers of an interrupted run are kept for it: they need a moment to find the coordinator again. */
  readonly reclaimMs: number;
}

export const defaultSettings: Settings = {
  heartbeatTimeoutMs: 10_000,
  settleMs: 300,
  voteTimeoutMs: 300_000,
  maxSkippedSteps: 10,
  maxRingFailures: 5,
  // The longest pause between two attempts of a worker to attend, and a little more.
  reclaimMs: 15_000,
};

/** Who a worker is. */
export interface WorkerIdentity {
  readonly workerId: string;
  readonly hostName: string;
  readonly processId: number;
  /** Where peers reach its data plane, `host:port`. */
  readonly dataPlaneAddress: string;
  readonly device: string;
  readonly role: Role;
}

/** A worker whose stream is open. */
export interface Attendee extends WorkerIdentity {
  /** Smaller for workers that came earlier. */
  readonly order: number;
  readonly lastSeenMs: number;
  /** The run it is a member of; undefined when idle. */
  readonly runId: string | undefined;
}

export interface Run {
  readonly durable: RunState;
  readonly live: LiveRun;
}

/** The part of a run that lives in its workers' memory and in messages under way; gone when the coordinator restarts. */
export type LiveRun = Ended | Waiting | Training | Reforming;

export interface Ended {
  readonly stage: 'ended';
}

/** Queued. */
export interface Waiting {
  readonly stage: 'waiting';
  /** Undefined while the newest checkpoint is being looked up. */
  readonly origin: Origin | undefined;
  /** It was interrupted, and until then no other run may take the workers it needs. */
  readonly claimsUntilMs: number | undefined;
  /** It lost an expert worker and with it the experts: the survivors suffice to go on, fewer than the run asks for. */
  readonly settlesFor?: Crew | undefined;
}

/** How many workers of each role. */
export interface Crew {
  readonly workers: number;
  readonly expertWorkers: number;
}

/** Where a start without anything in memory begins: the seed (no directory, step 0) or a checkpoint. */
export interface Origin {
  readonly step: number;
  readonly directory: string | undefined;
}

/** What outlasts a generation while the same workers hold the run's state. */
export interface Memory {
  readonly origin: Origin;
  /** workerIds of the expert workers by number; none where every rank holds all experts. */
  readonly experts: readonly string[];
  /** The first generation since the run was taken from `origin`; messages of older ones are not about this state. */
  readonly firstGeneration: number;
  /** Rings broken in a row without a step between and with nobody lost. */
  readonly ringFailures: number;
  /** Committed steps that still miss rank 0's report, oldest first. */
  readonly unreported: readonly CommittedStep[];
}

/** A generation at work. */
export interface Training extends Memory {
  readonly stage: 'training';
  readonly generation: number;
  /** workerIds by rank. */
  readonly members: readonly string[];
  /** Votes in hand for the step after the last committed one, by rank. */
  readonly votes: ReadonlyMap<number, StepVote>;
  /** When the first of them came. */
  readonly votesSinceMs: number | undefined;
  /** Checkpoint parts in hand: by step, then by rank. */
  readonly parts: ReadonlyMap<number, ReadonlyMap<number, readonly CheckpointFile[]>>;
  /** Steps whose manifest rank 0 was told to write. */
  readonly manifests: ReadonlySet<number>;
  /** Set while stopping: the step after which every rank ends. */
  readonly stopAfterStep: number | undefined;
  /** Set with it when the run ends there only to leave its workers to this one. */
  readonly yieldsTo: string | undefined;
  /** How fast this generation commits. */
  readonly pace: Pace | undefined;
}

/** The first and the last step a generation committed, and when. The first is slow: it compiles the graph. */
export interface Pace {
  readonly firstStep: number;
  readonly firstMs: number;
  readonly lastStep: number;
  readonly lastMs: number;
}

/** Between two generations: the survivors keep their state and wait for a new ring. */
export interface Reforming extends Memory {
  readonly stage: 'reforming';
  readonly survivors: readonly string[];
  readonly sinceMs: number;
  /** Survivors that have given no sign of life since the ring broke; it does not form before they have, or are lost. */
  readonly unheard: ReadonlySet<string>;
  /** What ended the last generation, one clause. */
  readonly cause: string;
}

/** What a line of `metrics.jsonl` takes from the commit. */
export interface CommittedStep {
  readonly step: number;
  readonly generation: number;
  readonly loss: number | null;
  readonly gradNorm: number | null;
  /** Sequences of this step. */
  readonly sequences: PerSource<number>;
  readonly time: string;
}

/** A cluster with nobody in it and an empty queue, holding the runs that were replayed, in the order they were launched. */
export function initialCluster(settings: Settings = defaultSettings, runs: readonly RunState[] = []): ClusterState {
  const inOrder = runs.toSorted((a, b) => a.createdAtMs - b.createdAtMs || (a.runId < b.runId ? -1 : 1));
  return {
    settings,
    workers: new Map(),
    runs: new Map(inOrder.map((durable) => [durable.runId, { durable, live: { stage: 'ended' } }])),
    queue: EMPTY_QUEUE,
    paces: new Map(),
    attended: 0,
    lastTickMs: undefined,
  };
}
