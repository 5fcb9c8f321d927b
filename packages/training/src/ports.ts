import type { CheckpointFile, StepReport, StepVote } from '@weft/contracts';

/** How a process tells the coordinator that its files of a checkpoint are on disk. */
export interface CheckpointPort {
  checkpointPart(part: { readonly step: number; readonly files: readonly CheckpointFile[] }): void;
}

/** What a rank tells and asks the coordinator, in one generation of one run. */
export interface CoordinatorPort extends CheckpointPort {
  /** Resolves with the cluster's decision; rejects `cancelled` when the generation is released. */
  vote(vote: StepVote): Promise<{ readonly apply: boolean }>;
  /** Rank 0 after each decided step. */
  report(report: StepReport): void;
}

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
  readonly state: InitialState;
}

/** How a generation is interrupted from outside. */
export interface TrainSignals {
  /** Aborts when the generation is over: the current step is dropped, unless it was already decided. */
  readonly released: AbortSignal;
  /** Once this step is decided, save its checkpoint and end; undefined: go on to the end of the run. */
  readonly stop: { readonly afterStep: number | undefined };
}

/** How a generation ended, for this process. */
export interface TrainOutcome {
  readonly outcome: 'finished' | 'stopped';
  /** The last step decided. */
  readonly step: number;
}
