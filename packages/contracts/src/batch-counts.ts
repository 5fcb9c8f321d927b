import type { PerSource } from '@weft/common';

/** What reading shards at addresses has cost a process since it began. */
export interface RemoteCounts {
  readonly fetchedBytes: number;
  /** Attempts, repeated ones included. */
  readonly requests: number;
  readonly retries: number;
  /** Reads of a block that was near. */
  readonly cacheHits: number;
  /** Reads that waited for a block to be fetched. */
  readonly cacheMisses: number;
  /** Time of these waits, over all reads. */
  readonly waitSeconds: number;
}

/** What one rank took from its loader for one step, by source, and how its loader is. */
export interface BatchCounts {
  readonly sequences: PerSource<number>;
  readonly images: PerSource<number>;
  /** Positions with a target. */
  readonly lossTokens: PerSource<number>;
  /** Batches of later steps that were already read when this one was taken; 0: the loader is late. */
  readonly queuedBatches: number;
  /** What was decoded since the dataset was opened; the seconds are of all threads. Threads that ended or hung were replaced. */
  readonly decoded: { readonly images: number; readonly seconds: number; readonly replacedThreads: number };
  /** Where shards lie at addresses. */
  readonly remote?: RemoteCounts | undefined;
}
