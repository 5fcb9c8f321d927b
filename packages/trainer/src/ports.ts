import type { CheckpointFile } from '@weft/checkpoint';

/** What a rank saw of a step once its gradients are reduced. Every number is global, so all ranks send the same. */
export interface StepVote {
  readonly step: number;
  /** Mean over the step's text tokens, in nats. */
  readonly loss: number;
  /** Of the mean gradient, before clipping. */
  readonly gradNorm: number;
  /** Whether loss and gradients are free of NaN and infinity. */
  readonly finite: boolean;
  /** Names the sequences that this rank consumed. */
  readonly sequenceDigest: string;
  readonly lossTokens: number;
}

/** One line of metrics.jsonl, as far as a rank knows it. */
export interface StepReport {
  readonly step: number;
  readonly learningRate: number;
  readonly tokensPerSecond: number;
  readonly dataSeconds: number;
  readonly computeSeconds: number;
  /** Waiting for the all-reduce once the gradients are computed, and for the decision. */
  readonly communicationSeconds: number;
  readonly applySeconds: number;
}

/** The way to the coordinator, for one generation of one run. */
export interface CoordinatorLink {
  /** Resolves with the cluster's decision; rejects `cancelled` when the generation is released. */
  vote(vote: StepVote): Promise<{ readonly apply: boolean }>;
  /** Rank 0 after each applied step. */
  report(report: StepReport): void;
  /** This rank's files of a checkpoint are on disk. */
  checkpointPart(part: { readonly step: number; readonly files: readonly CheckpointFile[] }): void;
}

/** Where a rank's state comes from when a generation begins. */
export type InitialState =
  | { readonly kind: 'fresh' }
  | { readonly kind: 'keep' }
  | { readonly kind: 'checkpoint'; readonly directory: string };

/** One rank's place in one generation. */
export interface GenerationPlan {
  readonly generation: number;
  readonly rank: number;
  readonly worldSize: number;
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
