import type { ErrorCode } from '@weft/common';
import type { RunConfig } from '@weft/config';
import type { CheckpointFile, MetricsRow } from '@weft/contracts';
import type { Unhealthy } from './divergence.js';
import type { NewRunJob } from './queue-state.js';
import type { RunState } from './run-state.js';

/** What the coordinator executes once the records of the decision are on disk. */
export type Command = MessageCommand | QueueCommand | FileCommand | Notify;

/** Tell those who follow the run. One sentence without its full stop. */
interface Notify {
  readonly kind: 'notify';
  readonly runId: string;
  readonly sentence: string;
}

/** Messages to workers. */
type MessageCommand =
  | Assign
  | DecideStep
  | WriteManifest
  | StopRun
  | EndGeneration
  | ContinueGeneration
  | Prepare
  /** Try to connect to these data planes. The answer is the event `probed`. */
  | { readonly kind: 'probe'; readonly workerId: string; readonly addresses: readonly string[] }
  /** Ask workers where they are in their run. The answers are events `progressed`. */
  | { readonly kind: 'askProgress'; readonly workerIds: readonly string[] }
  | Release
  /** Close a worker's stream. To this coordinator the worker is lost; it may connect again. */
  | { readonly kind: 'dismiss'; readonly workerId: string; readonly code: ErrorCode; readonly message: string };

/** Changes of the job queue. */
export type QueueCommand =
  | { readonly kind: 'enqueue'; readonly job: NewRunJob }
  | (OfJob & { readonly kind: 'takeJob' | 'requeueJob' })
  | (OfJob & { readonly kind: 'completeJob'; readonly result: unknown })
  | (OfJob & { readonly kind: 'failJob' | 'cancelJob'; readonly reason: string });

/**
 * Look for the newest checkpoint that verifies; the answer is the event `checkpointFound`. Checkpoints of later steps than
 * `notAfterStep` are skipped: they belong to steps that were rolled back.
 */
export interface FindCheckpoint {
  readonly kind: 'findCheckpoint';
  readonly runId: string;
  readonly notAfterStep: number;
  readonly unhealthy: Unhealthy | undefined;
  /** What the run leaves out: a checkpoint whose steps consumed others belongs to steps that were rolled back. */
  readonly skippedBatches: RunConfig['data']['skippedBatches'];
  /** What the log says of the checkpoints: one whose manifest is another now is passed over. */
  readonly known: RunState['checkpoints'];
}

/** Work on the files of a run. */
type FileCommand =
  /** Write `config.json`. */
  | { readonly kind: 'writeConfig'; readonly runId: string; readonly config: RunConfig }
  | FindCheckpoint
  /** Rename the checkpoints of later steps: the run was rolled back by hand, and they are not its checkpoints any more. */
  | { readonly kind: 'setAsideCheckpoints'; readonly runId: string; readonly afterStep: number }
  /** The run was rolled back: rewrite `metrics.jsonl` to fit the log again, with the function `repairMetrics`. */
  | { readonly kind: 'repairMetrics'; readonly runId: string }
  | { readonly kind: 'appendMetrics'; readonly runId: string; readonly row: MetricsRow };

/**
 * To every member of a new generation: its rank, or its number as an expert worker. The secret token of the ring is made
 * by the coordinator when it executes this, because a pure function cannot make one.
 */
export interface Assign {
  readonly kind: 'assign';
  readonly runId: string;
  readonly generation: number;
  readonly config: RunConfig;
  readonly firstStep: number;
  /** Steps up to this one were committed before and rolled back. */
  readonly trainedToStep: number;
  readonly startFrom: /** Initialise from the seed. */
    | { readonly kind: 'fresh' }
    /** Go on with the state in memory; the newcomers get it from the other ranks. */
    | { readonly kind: 'keep' }
    | { readonly kind: 'checkpoint'; readonly directory: string };
  /** workerIds of the ranks that get the state from the others. */
  readonly newcomers: readonly string[];
  /** By rank. */
  readonly ring: readonly { readonly workerId: string; readonly address: string }[];
  /** By number of the expert worker. */
  readonly experts: readonly { readonly workerId: string; readonly address: string }[];
  /** The number of the expert worker that keeps the copy of each one's experts, by number; empty: there are no copies. */
  readonly expertCopies: readonly number[];
  /**
   * Who holds the experts with which the generation goes on: for each expert worker of the one before, the numbers of those in
   * this one. Empty where they do not come from memory.
   */
  readonly expertHolders: readonly (readonly number[])[];
}

/** The step is committed: apply it, or skip it because its gradients were not finite. */
interface DecideStep extends ToMembers {
  readonly kind: 'decideStep';
  /** Save a checkpoint after it, because a person asked for one. Absent: no. */
  readonly save?: true;
  readonly step: number;
  readonly apply: boolean;
  /** As the ranks voted: expert workers clip and scale their gradients with them. */
  readonly gradNorm: number;
  readonly lossTokens: number;
  /** The least of the ranks' communication seconds: what a rank has more, it waited for the last one to come. */
  readonly leastCommunicationSeconds: number;
}

/** To rank 0: every part of the checkpoint is on disk. */
interface WriteManifest {
  readonly kind: 'writeManifest';
  readonly workerId: string;
  readonly runId: string;
  readonly generation: number;
  readonly step: number;
  readonly files: readonly CheckpointFile[];
  /** Why it should not be used without a person's word; undefined: nothing speaks against it. */
  readonly unhealthy: string | undefined;
}

/** Save a checkpoint after `afterStep` and end. */
interface StopRun extends ToMembers {
  readonly kind: 'stopRun';
  readonly afterStep: number;
  readonly reason: string;
}

/** Finish `afterStep` with all that belongs to it and keep the state: another generation follows. Sent before its decision. */
interface EndGeneration extends ToMembers {
  readonly kind: 'endGeneration';
  readonly afterStep: number;
}

/**
 * To members that came back to another coordinator, all of them: the generation goes on. They send again what the coordinator
 * before may not have received.
 */
interface ContinueGeneration extends ToMembers {
  readonly kind: 'continueGeneration';
}

/** To an idle worker: get ready to join a run under way. The answer is the event `prepared`. */
interface Prepare {
  readonly kind: 'prepare';
  readonly workerId: string;
  readonly runId: string;
  readonly generation: number;
  readonly config: RunConfig;
  /** The step that is trained now. */
  readonly step: number;
  /** Data-plane addresses of the ranks, and of the expert workers. */
  readonly ring: readonly string[];
  readonly experts: readonly string[];
}

/** The generation is over. With `discardState` the run is over for these workers, and they drop its state. */
interface Release extends ToMembers {
  readonly kind: 'release';
  readonly discardState: boolean;
  readonly reason: string;
}

interface ToMembers {
  readonly workerIds: readonly string[];
  readonly runId: string;
  readonly generation: number;
}

interface OfJob {
  readonly jobId: string;
  readonly runId: string;
}
