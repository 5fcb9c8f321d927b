import { WeftError } from '@weft/common';
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

/** The rows of a block that are sent, in order, as views. Full lists are joined with the next one. */
export function packedRows(
  block_ECD: Float32Array,
  tokensPerExpert_EG: Int32Array,
  { capacity, width }: ExpertShard,
): readonly Float32Array[] {
  const parts: Float32Array[] = [];
  let first = 0;
  for (const [list, rows] of tokensPerExpert_EG.entries()) {
    const end = (list * capacity + rows) * width;
    if (rows === capacity && list < tokensPerExpert_EG.length - 1) continue;
    if (end > first) parts.push(block_ECD.subarray(first, end));
    first = (list + 1) * capacity * width;
  }
  return parts;
}

/** Writes zeros to the rows of a block that are not sent. */
export function zeroUnused(
  block_ECD: Float32Array,
  tokensPerExpert_EG: Int32Array,
  { capacity, width }: ExpertShard,
): void {
  for (const [list, rows] of tokensPerExpert_EG.entries())
    block_ECD.fill(0, (list * capacity + rows) * width, (list + 1) * capacity * width);
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
