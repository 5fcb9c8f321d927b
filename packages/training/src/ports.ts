import type { CheckpointFile, StepReport, StepVote } from '@weft/contracts';

export type { StepVote };

/** The way to the coordinator, for one generation of one run. */
export interface CoordinatorLink {
  /** Resolves with the cluster's decision; rejects `cancelled` when the generation is released. */
  vote(vote: StepVote): Promise<{ readonly apply: boolean }>;
  /** Rank 0 after each applied step. */
  report(report: StepReport): void;
  /** This rank's files of a checkpoint are on disk. */
  checkpointPart(part: { readonly step: number; readonly files: readonly CheckpointFile[] }): void;
}

/** What the cluster decided about a step, as expert workers need it: clipping and scale are those of the whole model. */
export interface ExpertDecision {
  readonly apply: boolean;
  /** Of the mean gradient, before clipping. */
  readonly gradNorm: number;
  readonly lossTokens: number;
}

/** The way of an expert worker to the coordinator, for one generation of one run. */
export interface ExpertLink {
  /** Resolves with the cluster's decision about a step; rejects `cancelled` when the generation is released. */
  decision(step: number): Promise<ExpertDecision>;
  /** This expert worker's files of a checkpoint are on disk. */
  checkpointPart(part: { readonly step: number; readonly files: readonly CheckpointFile[] }): void;
}

/** Where a rank's state comes from when a generation begins. */
export type InitialState =
  | { readonly kind: 'fresh' }
  | { readonly kind: 'keep' }
  | { readonly kind: 'checkpoint'; readonly directory: string };

/** The place of a rank, or of an expert worker, in one generation. */
export interface GenerationPlan {
  readonly generation: number;
  /** Of an expert worker, its number among the expert workers. */
  readonly rank: number;
  /** The number of ranks. */
  readonly worldSize: number;
  /** The number of expert workers; 0 where every rank holds all experts. */
  readonly expertWorkers: number;
  /** The first step to train; the state is the one after `firstStep - 1`. */
  readonly firstStep: number;
  readonly state: InitialState;
}

/** What may interrupt a generation from outside. */
export interface TrainSignals {
  /** Aborts when the generation is over: the step in hand is dropped, unless it was already decided. */
  readonly released: AbortSignal;
  /** Once this step is decided, save its checkpoint and end; undefined while nobody asked. */
  readonly stop: { readonly afterStep: number | undefined };
}

export interface TrainOutcome {
  readonly outcome: 'finished' | 'stopped';
  /** The last step decided. */
  readonly step: number;
}
