import type { CheckpointFile, StepReport, StepVote, TimeBucket, WorkTime } from '@weft/contracts';

/** What a process has saved of a checkpoint. */
export interface CheckpointPart {
  readonly step: number;
  readonly files: readonly CheckpointFile[];
  /** For how long training stood still to begin it. Default: nobody measured. */
  readonly stallSeconds?: number;
}

/** How a process tells the coordinator that its files of a checkpoint are on disk. */
export interface CheckpointPort {
  checkpointPart(part: CheckpointPart): void;
}

/** What a rank tells and asks the coordinator, in one generation of one run. */
export interface CoordinatorPort extends CheckpointPort {
  /** Resolves with the cluster's decision; rejects `cancelled` when the generation is released. */
  vote(vote: StepVote): Promise<StepDecision>;
  /** Rank 0 after each decided step. */
  report(report: StepReport): void;
}

/** The decision about a step as a rank needs it. */
export interface StepDecision {
  readonly apply: boolean;
  /**
   * The least of the ranks' `StepVote.communicationSeconds`: what a rank has more, it waited for the last one to come.
   * Default: nobody waited.
   */
  readonly leastCommunicationSeconds?: number;
}

/** Where a process keeps what it spends its time on, see `WorkClock`. */
export interface WorkTimer {
  readonly spent: WorkTime;
  enter(bucket: TimeBucket): void;
  move(from: TimeBucket, to: TimeBucket, seconds: number): void;
  moveSince(moment: WorkTime, to: TimeBucket): void;
}

/** Where a process notes what it does and when, while a profile is asked for; see `SpanRecorder`. */
export interface SpanNotes {
  /** Before every step: a profile is of some steps. */
  atStep(step: number): void;
  /**
   * Something is over that began at `beganMs`, by `performance.now()`.
   *
   * @param track what belongs together, such as `ring`
   * @param endedMs default: now
   */
  add(
    track: string,
    name: string,
    beganMs: number,
    details?: Readonly<Record<string, string | number>>,
    endedMs?: number,
  ): void;
}

/** Notes nothing. */
export const noSpans: SpanNotes = { atStep: () => {}, add: () => {} };

/** What an expert worker tells and asks the coordinator, in one generation of one run. */
export interface ExpertCoordinatorPort extends CheckpointPort {
  /** Resolves with the cluster's decision about a step; rejects `cancelled` when the generation is released. */
  decision(step: number): Promise<ExpertDecision>;
}

/** The decision about a step as expert workers need it: norm and tokens are those of the whole model. */
export interface ExpertDecision {
  readonly apply: boolean;
  /** Of the mean gradient, before clipping. */
  readonly gradNorm: number;
  readonly lossTokens: number;
}

/** Where the state of a process comes from when a generation begins. */
export type InitialState =
  | { readonly kind: 'fresh' }
  | { readonly kind: 'keep' }
  /** This rank joins the run under way, and gets the state from the ranks that hold it. */
  | { readonly kind: 'peers' }
  | { readonly kind: 'checkpoint'; readonly directory: string };

/** What a rank, or an expert worker, does in one generation. */
export interface GenerationPlan {
  readonly generation: number;
  /** Of an expert worker, its number among the expert workers. */
  readonly rank: number;
  /** The number of ranks. */
  readonly worldSize: number;
  /** The number of expert workers; 0 where every rank has all experts. */
  readonly expertWorkers: number;
  /** The first step to train; the state is the one after `firstStep - 1`. */
  readonly firstStep: number;
  /** Steps up to this one were committed before and rolled back; default: none. */
  readonly trainedToStep?: number;
  readonly state: InitialState;
  /** The ranks that join under way: the others send them the state. Default: none. */
  readonly newcomers?: readonly number[];
  /** Which expert worker keeps the copy of each one's experts: its number, by number of the owner. Default: there are no copies. */
  readonly expertCopies?: readonly number[];
  /**
   * Where the experts are that a generation goes on with: for every expert worker of the one before, the numbers of those in
   * this one that hold its experts. Default: each holds what it did.
   */
  readonly expertHolders?: readonly (readonly number[])[];
}

/** How a generation is interrupted from outside. */
export interface TrainSignals {
  /** Aborts when the generation is over: the current step is dropped, unless it was already decided. */
  readonly released: AbortSignal;
  /** Once this step is decided, save its checkpoint and end; undefined: go on to the end of the run. */
  readonly stop: { readonly afterStep: number | undefined };
  /** Once this step is decided and all that belongs to it is done, another generation follows; default: none does. */
  readonly handOver?: { readonly afterStep: number | undefined };
  /** The step after which a checkpoint was asked for, beside those that are due; default: none. */
  readonly save?: { readonly afterStep: number | undefined };
}

/** How a generation ended, for this process. */
export interface TrainOutcome {
  /** `handedOver`: the next generation goes on with the state in memory. */
  readonly outcome: 'finished' | 'stopped' | 'handedOver';
  /** The last step decided. */
  readonly step: number;
}
