import type { ExchangeShape } from '@weft/collectives';
import type { RunConfig } from '@weft/config';
import { moeShape } from '@weft/model';
import { placeExperts, rankSlice, stepSequences } from '@weft/topology';

/** The shape of every message between ranks and this number of expert workers. */
export function exchangeShape({ model, microbatchSize }: RunConfig, expertWorkers: number): ExchangeShape {
  const { experts, groups, capacity } = moeShape(model, microbatchSize);
  const precision = model.decoder.moe?.exchangePrecision ?? 'fp32';
  return { placement: placeExperts(experts, expertWorkers), groups, capacity, width: model.decoder.width, precision };
}

/** One microbatch of a step, over all ranks. */
export interface MicrobatchId {
  /** From 0, among those of the rank. */
  readonly microbatch: number;
  readonly rank: number;
}

/**
 * The order in which an expert adds up the gradients that the microbatches of a step bring: the first one of every rank,
 * in rank order, then the second ones, and so on. It follows from the plan alone, so that sums do not depend on which
 * rank was faster.
 */
export function accumulationOrder(config: RunConfig, step: number, worldSize: number): readonly MicrobatchId[] {
  const { first, end } = stepSequences(step, config.globalBatchSize);
  const counts = Array.from({ length: worldSize }, (_, rank) => {
    const slice = rankSlice(first, end, rank, worldSize);
    return Math.ceil((slice.end - slice.first) / config.microbatchSize);
  });
  return Array.from({ length: Math.max(...counts) }, (_, microbatch) =>
    counts.flatMap((count, rank) => (microbatch < count ? [{ microbatch, rank }] : [])),
  ).flat();
}
