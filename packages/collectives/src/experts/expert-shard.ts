import { WeftError } from '@weft/common';
import type { Range } from '@weft/topology';
import { type GenerationId, generationName } from '../connect/rank-id.js';
import type { ExchangeShape } from './exchange.js';

/**
 * The part of an exchange that concerns one expert worker. Its rows form a block [E, C, D]: for each of its experts and
 * groups a list of `capacity` rows, of which the first ones are sent.
 */
export interface ExpertShard {
  readonly firstExpert: number;
  /** The number of this worker's experts. */
  readonly experts: number;
  readonly groups: number;
  readonly capacity: number;
  readonly width: number;
}

/** The shard of an expert worker. */
export function expertShard({ placement, groups, capacity, width }: ExchangeShape, expertWorker: number): ExpertShard {
  const { first, end } = placement[expertWorker]!;
  return { firstExpert: first, experts: end - first, groups, capacity, width };
}

/** How many lists of rows a block has: one for each expert and group. */
export function listCount({ experts, groups }: ExpertShard): number {
  return experts * groups;
}

/** How many values a block has. */
export function blockLength(shard: ExpertShard): number {
  return listCount(shard) * shard.capacity * shard.width;
}

/** Where the rows that are sent lie in a block, in values and in order. Full lists are joined with the next one. */
export function sentRanges(tokensPerExpert_EG: Int32Array, { capacity, width }: ExpertShard): readonly Range[] {
  const ranges: Range[] = [];
  let first = 0;
  for (const [list, rows] of tokensPerExpert_EG.entries()) {
    const end = (list * capacity + rows) * width;
    if (rows === capacity && list < tokensPerExpert_EG.length - 1) continue;
    if (end > first) ranges.push({ first, end });
    first = (list + 1) * capacity * width;
  }
  return ranges;
}

/** Where the rows that are not sent lie in a block, in values. */
export function unusedRanges(tokensPerExpert_EG: Int32Array, { capacity, width }: ExpertShard): readonly Range[] {
  return [...tokensPerExpert_EG].flatMap((rows, list) =>
    rows === capacity ? [] : [{ first: (list * capacity + rows) * width, end: (list + 1) * capacity * width }],
  );
}

/** The rows of a block that are sent, in order, as views. */
export function packedRows(
  block_ECD: Float32Array,
  tokensPerExpert_EG: Int32Array,
  shard: ExpertShard,
): readonly Float32Array[] {
  return sentRanges(tokensPerExpert_EG, shard).map(({ first, end }) => block_ECD.subarray(first, end));
}

/** Writes zeros to the rows of a block that are not sent. */
export function zeroUnused(block_ECD: Float32Array, tokensPerExpert_EG: Int32Array, shard: ExpertShard): void {
  for (const { first, end } of unusedRanges(tokensPerExpert_EG, shard)) block_ECD.fill(0, first, end);
}

/** "expert worker 1 of run r-1, generation 3", for messages. */
export function expertWorkerName(generation: GenerationId, expertWorker: number): string {
  return `expert worker ${expertWorker} of ${generationName(generation)}`;
}

/**
 * The error of an expert worker that is gone, as ranks report it.
 *
 * @param how the sign that it is gone: "its connection closed"
 */
export function expertWorkerGone(generation: GenerationId, expertWorker: number, how: string): WeftError {
  return new WeftError('unavailable', `${expertWorkerName(generation, expertWorker)} is gone: ${how}`, {
    hint: `look at the log of expert worker ${expertWorker} for the reason`,
  });
}
