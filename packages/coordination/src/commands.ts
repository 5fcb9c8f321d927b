import type { ErrorCode } from '@weft/common';
import type { RunConfig } from '@weft/config';
import type { CheckpointFile, MetricsRow } from '@weft/contracts';
import type { NewRunJob } from './queue-state.js';

/** What the coordinator does after its records are on disk. */
export type Command =
  | Assign
  | DecideStep
  | WriteManifest
  | StopRun
  | Release
  | QueueCommand
  /** Close a worker's stream: it is lost to this coordinator and may attend anew. */
  | { readonly kind: 'dismiss'; readonly workerId: string; readonly code: ErrorCode; readonly message: string }
  /** Write the run's `config.json`. */
  | { readonly kind: 'writeConfig'; readonly runId: string; readonly config: RunConfig }
  /**
   * Look for the newest checkpoint that verifies; the answer is the event `checkpointFound`. One that holds a later step
   * than the log is skipped: it belongs to steps that were rolled back.
   */
  | { readonly kind: 'findCheckpoint'; readonly runId: string; readonly notAfterStep: number }
  /** The run was rolled back: make `metrics.jsonl` fit its log again, as the function `mendMetrics` says. */
  | { readonly kind: 'mendMetrics'; readonly runId: string }
  | { readonly kind: 'appendMetrics'; readonly runId: string; readonly row: MetricsRow };

/** Changes of the job queue. */
export type QueueCommand =
  | { readonly kind: 'enqueue'; readonly job: NewRunJob }
  | (OfJob & { readonly kind: 'takeJob' | 'requeueJob' })
  | (OfJob & { readonly kind: 'completeJob'; readonly result: unknown })
  | (OfJob & { readonly kind: 'failJob' | 'cancelJob'; readonly reason: string });

interface OfJob {
  readonly jobId: string;
  readonly runId: string;
}

/** To every member of the ring: its place in a new generation. The ring's token is made by whoever carries this out. */
export interface Assign {
  readonly kind: 'assign';
  readonly runId: string;
  readonly generation: number;
  readonly config: RunConfig;
  readonly firstStep: number;
  readonly state:
    | { readonly kind: 'fresh' }
    | { readonly kind: 'keep' }
    | { readonly kind: 'checkpoint'; readonly directory: string };
  /** By rank. */
  readonly ring: readonly { readonly workerId: string; readonly address: string }[];
  /** By number of the expert worker. */
  readonly experts: readonly { readonly workerId: string; readonly address: string }[];
}

interface ToMembers {
  readonly workerIds: readonly string[];
  readonly runId: string;
  readonly generation: number;
}

export interface DecideStep extends ToMembers {
  readonly kind: 'decideStep';
  readonly step: number;
  readonly apply: boolean;
  /** As the ranks voted: expert workers clip and scale their gradients with them. */
  readonly gradNorm: number;
  readonly lossTokens: number;
}

export interface WriteManifest {
  readonly kind: 'writeManifest';
  readonly workerId: string;
  readonly runId: string;
  readonly generation: number;
  readonly step: number;
  readonly files: readonly CheckpointFile[];
}

export interface StopRun extends ToMembers {
  readonly kind: 'stopRun';
  readonly afterStep: number;
  readonly reason: string;
}

/** The generation is over; with `forget`, the run is over for these workers too. */
export interface Release extends ToMembers {
  readonly kind: 'release';
  readonly forget: boolean;
  readonly reason: string;
}
