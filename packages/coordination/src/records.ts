import type { PerSource } from '@weft/common';
import type { MixtureChange, Precision, RunConfig } from '@weft/config';
import type { RunFailure, TimeBucket } from '@weft/contracts';
import type { LedgerEntry, SkippedData } from '@weft/mixture';
import type { Spike } from './divergence.js';

/**
 * One line of a run's `events.jsonl`: a fact that survives the coordinator. Applying the lines with `applyRecord` gives
 * the `RunState`; folding the `committed` and `resumed` lines with `Ledger` of `@weft/mixture` gives the consumed sequences.
 *
 * This is a file format on users' disks. Kinds and fields keep their names for good, and a field that is added must be
 * optional, because older logs lack it.
 */
export type RunRecord =
  | Launched
  | Assigned
  | Committed
  | CheckpointWritten
  | WorkerLost
  | RingBroke
  | Hung
  | Straggler
  | Requeued
  | Continued
  | AttemptFailed
  | Resumed
  | RolledBack
  | MixtureChanged
  | StopRequested
  | Stopped
  | Finished
  | Failed;

interface Line<Kind extends string> {
  readonly kind: Kind;
  /** When the coordinator decided it, ISO 8601 in UTC. */
  readonly time: string;
}

/** The first line of every run. */
interface Launched extends Line<'launched'> {
  readonly runId: string;
  readonly config: RunConfig;
  readonly weftVersion: string;
  /** The sweep it belongs to; absent for a run of its own. */
  readonly parent?: string;
}

/** What a generation's members start from. */
type StartKind = 'fresh' | 'checkpoint' | 'keep';

/** A generation began; its workers by rank. */
export interface Assigned extends Line<'assigned'> {
  readonly generation: number;
  readonly firstStep: number;
  readonly state: StartKind;
  readonly workers: readonly { readonly workerId: string; readonly hostName: string; readonly device: string }[];
  /** The expert workers by number; absent where every rank holds all experts. */
  readonly expertWorkers?: Assigned['workers'];
  /** Which of them keeps the copy of each one's experts: its number, by number of the owner. Absent: there are no copies. */
  readonly expertCopies?: readonly number[];
  /** workerIds of the ranks that joined the run under way. Absent: none. */
  readonly newcomers?: readonly string[];
  /** What `precision: auto` is from here on, for good. Absent: as before. */
  readonly precision?: Precision;
}

/** A step is part of the run for good, unless a later `resumed` line rolls it back. */
export interface Committed extends Line<'committed'> {
  readonly entry: LedgerEntry;
  /** Global L2 norm of the gradient before clipping; null where it was not finite. */
  readonly gradNorm: number | null;
  /** The text tokens of all ranks; the loss is their mean. */
  readonly lossTokens: number;
  readonly worldSize: number;
  /** By source, the mean loss over its text tokens. Absent: unknown. */
  readonly sourceLoss?: PerSource<number>;
  /** Its loss or gradient norm was far over those of the steps before. Absent: it was not. */
  readonly spike?: Spike;
}

/** The manifest of this checkpoint is on disk. */
export interface CheckpointWritten extends Line<'checkpointWritten'> {
  readonly step: number;
  readonly directory: string;
  /** SHA-256 of the manifest, hexadecimal: one that was changed afterwards is not the checkpoint of this line. Absent: unknown. */
  readonly manifestSha256?: string;
  /** For how long training stood still for it, on the rank where that was longest. Absent: unknown. */
  readonly stallSeconds?: number;
}

interface WorkerLost extends Line<'workerLost'> {
  readonly generation: number;
  /** Of an expert worker, its number among the expert workers. */
  readonly rank: number;
  readonly role?: 'expertWorker';
  readonly workerId: string;
  readonly hostName: string;
  readonly reason: string;
}

/** A rank's ring connection failed; the generation is over. */
interface RingBroke extends Line<'ringBroke'> {
  readonly generation: number;
  /** Of an expert worker, its number among the expert workers. */
  readonly rank: number;
  readonly role?: 'expertWorker';
  readonly step: number;
  readonly reason: string;
}

/** A member does not get on, and the others wait for it. */
export interface Hung extends Line<'hung'> {
  readonly generation: number;
  /** Of an expert worker, its number among the expert workers. */
  readonly rank: number;
  readonly role?: 'expertWorker';
  readonly workerId: string;
  readonly hostName: string;
  /** The step that it hangs in. */
  readonly step: number;
  /** What it was doing; absent: it did not tell. */
  readonly phase?: TimeBucket;
  /** One clause of which the worker is the subject. */
  readonly reason: string;
}

/** A rank was much slower than the others in many steps in a row. */
export interface Straggler extends Line<'straggler'> {
  readonly generation: number;
  readonly rank: number;
  readonly workerId: string;
  readonly hostName: string;
  /** The last of those steps, and how many they were. */
  readonly step: number;
  readonly steps: number;
  /** How many times as long as the others it took in that step. */
  readonly factor: number;
  /** What took it longer. */
  readonly part: 'data' | 'compute';
  /** The run goes on without it. Absent: it stays. */
  readonly isLeftOut?: true;
}

/** No worker holds the run's state any more: it waits for workers and will start from its newest checkpoint. */
interface Requeued extends Line<'requeued'> {
  readonly reason: string;
  /** The run of a higher priority that got its workers; absent when it lost them, or they were asked to end. */
  readonly yieldedTo?: string;
  /** Its last step was saved before its workers went, so that nothing is lost. Absent: it was not. */
  readonly isSaved?: true;
}

/** The run's workers came back with its state: it goes on after the last committed step, in the same generation. */
interface Continued extends Line<'continued'> {
  readonly generation: number;
  readonly step: number;
}

/** The run failed, and is tried again from its newest checkpoint. */
interface AttemptFailed extends Line<'attemptFailed'> {
  readonly step: number;
  readonly failure: RunFailure;
  /** From 1. */
  readonly attempt: number;
  readonly maxAttempts: number;
  /** ISO 8601 in UTC. */
  readonly retryAt: string;
}

/** The run goes on from the state after `fromStep`; steps committed beyond it are rolled back. */
export interface Resumed extends Line<'resumed'> {
  readonly fromStep: number;
  /** The checkpoint it will load; null to start afresh from the seed. */
  readonly checkpointDirectory: string | null;
  /** Newer checkpoints that did not verify, and why. */
  readonly skippedCheckpoints: readonly { readonly directory: string; readonly reason: string }[];
  /** The number of workers and of steps from here on. */
  readonly workers: number;
  readonly steps: number;
  /** Absent: as before. */
  readonly expertWorkers?: number;
  /** How it is computed from here on. Absent: as before. */
  readonly engine?: RunConfig['engine'];
  /** How it is kept, and what becomes of it when it diverges, from here on. Absent: as before. */
  readonly checkpoint?: RunConfig['checkpoint'];
  readonly divergence?: RunConfig['divergence'];
  /** What it is trained on from here on, and where that lies. Absent: as before. */
  readonly data?: RunConfig['data'];
  readonly reason: string;
}

/**
 * The run has diverged and goes back: the steps after `toStep` count for nothing, and what the spike consumed is never
 * consumed. It waits for a checkpoint of that step, or an earlier one.
 */
export interface RolledBack extends Line<'rolledBack'> {
  /** The last step that was committed. */
  readonly step: number;
  /** The first step of the spike. */
  readonly since: number;
  readonly toStep: number;
  readonly skipped: SkippedData;
  /** Of the last step; absent where its gradients were not finite. */
  readonly spike?: Spike;
  readonly reason: string;
}

/** The mixture is another one from a step on: by its batch, because steps move when batches are skipped. */
export interface MixtureChanged extends Line<'mixtureChanged'> {
  /** As it was asked for. */
  readonly fromStep: number;
  readonly change: MixtureChange;
  readonly reason: string;
}

interface StopRequested extends Line<'stopRequested'> {}

interface Stopped extends Line<'stopped'> {
  readonly step: number;
  readonly reason: string;
}

interface Finished extends Line<'finished'> {
  readonly step: number;
}

interface Failed extends Line<'failed'> {
  readonly step: number;
  readonly failure: RunFailure;
}
