import type { PerSource } from '@weft/common';

/** What one rank took from its loader for one step, by source, and how its loader is. */
export interface BatchCounts {
  readonly sequences: PerSource<number>;
  readonly images: PerSource<number>;
  /** Positions with a target. */
  readonly lossTokens: PerSource<number>;
  /** Batches of later steps that were already read when this one was taken; 0: the loader is late. */
  readonly queuedBatches: number;
  /** What was decoded since the dataset was opened; the seconds are of all threads. */
  readonly decoded: { readonly images: number; readonly seconds: number };
}
