// What the coordinator answers to its web page, as JSON. Paths begin with /api.

import type { PerSource } from '@weft/common';
import type { RunFailure, RunView } from './run-view.js';
import type { SequenceContents } from './sequence-contents.js';

/** GET /api/overview, and the event `overview` of GET /api/stream: everything that lives now. */
export interface PageOverview {
  readonly version: string;
  /** Where logs and queue are kept, for people. */
  readonly store: string;
  /** Since when the store does not answer, and why; null while it does. */
  readonly storeError: string | null;
  /** The coordinator's clock, milliseconds since the Unix epoch. */
  readonly nowMs: number;
  /** Whether nothing starts until a person resumes the queue. */
  readonly isQueuePaused: boolean;
  /** The jobs that have not ended: the active ones, then the waiting ones in their order. */
  readonly queue: readonly PageJob[];
  /** The newest first. The oldest ended runs are left out where there are more than `MOST_RUNS`. */
  readonly runs: readonly RunView[];
  readonly runCount: number;
  readonly workers: readonly PageWorker[];
}

/** How many runs an overview lists. */
export const MOST_RUNS = 300;

/** A job of the queue. */
export interface PageJob {
  /** A run id, or the id of a sweep. */
  readonly id: string;
  readonly kind: 'run' | 'sweep';
  readonly state: 'waiting' | 'delayed' | 'paused' | 'waitingForChildren' | 'active';
}

/** A connected worker. */
export interface PageWorker {
  readonly workerId: string;
  readonly hostName: string;
  readonly processId: number;
  readonly device: string;
  readonly role: 'rank' | 'expertWorker';
  /** Null when idle. */
  readonly runId: string | null;
  /** Its number among the ranks or the expert workers of its run; null when idle or between two rings. */
  readonly rank: number | null;
  /** Whether its vote for the current step has come; null where no step is under way. */
  readonly hasVoted: boolean | null;
  /** Seconds since its last message. */
  readonly silentSeconds: number;
}

/** GET /api/runs/:run, and the event `run` of GET /api/stream. */
export interface PageRun {
  readonly run: RunView;
  /** The whole configuration, as `config.json` has it. */
  readonly config: unknown;
  readonly checkpoints: readonly PageCheckpoint[];
  readonly mixture: {
    /** Sequences consumed so far. */
    readonly consumed: PerSource<number>;
    /** Of how many the mixture asks of each source, over all its changes: fractions of sequences. */
    readonly shares: PerSource<number>;
    /** Of the next step. */
    readonly weights: PerSource<number>;
  };
}

/** A checkpoint that should be on disk. */
export interface PageCheckpoint {
  readonly step: number;
  readonly directory: string;
}

/** GET /api/runs/:run/curves?names=loss,gradNorm&from&to&points: curves, thinned to at most `points` points each. */
export interface PageCurves {
  /** The step of the last row; 0 when there is none. */
  readonly lastStep: number;
  /** The names of all curves that the run has. */
  readonly names: readonly string[];
  /** Those that were asked for; of every part of the range the least and the greatest value are there. */
  readonly curves: Readonly<Record<string, { readonly steps: readonly number[]; readonly values: readonly number[] }>>;
}

/** GET /api/runs/:run/experts?points: the load of experts over the run, at steps of even distances. */
export interface PageExperts {
  readonly steps: readonly number[];
  readonly layers: readonly {
    readonly layer: number;
    /** By step, then by expert: its assignments over those of the average expert. */
    readonly load: readonly (readonly number[])[];
    /** By step: the part of the assignments that was dropped. */
    readonly dropped: readonly number[];
  }[];
}

/** GET /api/runs/:run/steps/:step: what a step consumed. */
export interface PageStep {
  readonly step: number;
  readonly sequenceCount: number;
  /** The first of them. */
  readonly sequences: readonly SequenceContents[];
}

/** GET /api/runs/:run/sequences/:source/:index: a sequence, and the steps that consumed it. */
export interface PageConsumptions {
  readonly sequence: SequenceContents;
  readonly isHeldOut: boolean;
  readonly consumptions: readonly { readonly step: number; readonly epoch: number }[];
}

/** GET /api/runs/:run/timeline. */
export interface PageTimeline {
  readonly entries: readonly {
    readonly time: string;
    readonly text: string;
    readonly tone: 'plain' | 'quiet' | 'strong' | 'good' | 'warning' | 'bad';
  }[];
  /** The last known members, by role and rank, also those that were lost. */
  readonly members: readonly PageMember[];
}

/** A worker in the life of a run. */
export interface PageMember {
  readonly workerId: string;
  readonly hostName: string;
  readonly device: string;
  readonly role: 'rank' | 'expertWorker';
  readonly rank: number;
  readonly generation: number;
  /** Why and when it was lost; null for a member of the last generation that was not. */
  readonly lost: { readonly reason: string; readonly time: string } | null;
}

/** GET /api/sweeps. */
export interface PageSweep {
  readonly sweepId: string;
  readonly state: 'running' | 'ready' | 'finished' | 'cancelled';
  readonly createdAtMs: number;
  readonly childrenEnded: number;
  readonly childrenTotal: number;
}

/** GET /api/sweeps/:sweep. */
export interface PageSweepDetail extends PageSweep {
  /** What was launched: the sweep, its points, and what earlier sweeps had of them. */
  readonly plan: unknown;
  /** The result; null before the end. */
  readonly result: unknown;
  readonly runs: readonly RunView[];
}

/** GET /api/sweeps/:sweep/fit: the law of a sweep and what it was fitted to; null where there is none. */
export interface PageFit {
  /** "η = 0.5749·N^-0.4214" */
  readonly formula: string;
  readonly rSquared: number | null;
  /** What the runs were compared by. */
  readonly metric: string;
  readonly warnings: readonly string[];
  /** The best rate of every size, ascending. */
  readonly optima: readonly {
    readonly params: number;
    readonly value: number;
    readonly interval: { readonly low: number; readonly high: number } | null;
    readonly score: number;
    readonly bestTried: number;
  }[];
  /** Every run; a score of null: it was given up or diverged. */
  readonly grid: readonly { readonly params: number; readonly value: number; readonly score: number | null }[];
  /** The law over sizes, beyond its data on both sides. */
  readonly law: readonly PagePrediction[];
}

/** GET /api/sweeps/:sweep/predict?params: what the law of a sweep says of a model of so many parameters. */
export interface PagePrediction {
  readonly params: number;
  /** η */
  readonly value: number;
  /** λ */
  readonly weightDecay: number | null;
  /** Where one more optimum would lie, with a probability of 95 %. */
  readonly interval: { readonly low: number; readonly high: number } | null;
  /** How far the size is from the law's data; null within them. */
  readonly outside: { readonly side: 'above' | 'below'; readonly factor: number } | null;
}

/**
 * GET /api/logs?file&lines: the last lines of a log of this machine. GET /api/runs/:run/logs?lines: those about a run, of all
 * processes of this machine, without files.
 */
export interface PageLogs {
  /** The files there are, the newest first. */
  readonly files: readonly string[];
  readonly file: string | null;
  readonly lines: readonly PageLogLine[];
}

/** A line of a log. */
export interface PageLogLine {
  /** ISO 8601; empty for what no logger wrote. */
  readonly time: string;
  /** `coordinator`, `worker-0`; empty where one file is shown. */
  readonly process: string;
  /** Of a worker that trains the run. */
  readonly rank: number | null;
  readonly level: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'none';
  readonly message: string;
  /** The other fields, as JSON; empty when there are none. */
  readonly details: string;
}

/** The body of an answer that is no success. */
export type PageError = RunFailure;
