import type { RunConfig } from '@weft/config';
import { rankSlice, stepSequences } from '@weft/topology';

/** One rank's microbatch of a step. */
export interface Turn {
  readonly microbatch: number;
  readonly rank: number;
}

/** How many microbatches a rank makes of its slice of a step. */
export function microbatchesOf(config: RunConfig, step: number, rank: number, worldSize: number): number {
  const { first, end } = stepSequences(step, config.globalBatchSize);
  const slice = rankSlice(first, end, rank, worldSize);
  return Math.ceil((slice.end - slice.first) / config.microbatchSize);
}

/**
 * The order in which an expert adds up what the microbatches of a step bring: the first one of every rank, in rank
 * order, then the second ones, and so on. It follows from the plan alone, so that sums do not depend on who was faster.
 */
export function accumulationOrder(config: RunConfig, step: number, worldSize: number): readonly Turn[] {
  const counts = Array.from({ length: worldSize }, (_, rank) => microbatchesOf(config, step, rank, worldSize));
  return Array.from({ length: Math.max(...counts) }, (_, microbatch) =>
    counts.flatMap((count, rank) => (microbatch < count ? [{ microbatch, rank }] : [])),
  ).flat();
}
