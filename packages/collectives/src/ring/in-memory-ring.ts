import { ringNeighbours } from '@weft/topology';
import { checkRankId } from '../connect/rank-id.js';
import { memoryDuplexPair } from '../transport/memory-duplex.js';
import { type ProcessGroup, RingGroup } from './process-group.js';
import type { RingLinks } from './runner.js';

/** Options of `inMemoryRing`. */
export interface InMemoryRingOptions {
  /** Named in errors. Default "in-memory". */
  readonly runId?: string;
  /** Named in errors. Default 1. */
  readonly generation?: number;
  /** By rank: when the signal aborts, that rank leaves the ring. */
  readonly signals?: readonly (AbortSignal | undefined)[];
}

/**
 * A ring within this process: the process groups of all ranks, by rank. Algorithm, checks and errors are those of a ring
 * between processes.
 *
 * @throws WeftError `invalid_argument` for options out of range.
 */
export function inMemoryRing(worldSize: number, options: InMemoryRingOptions = {}): ProcessGroup[] {
  const { runId = 'in-memory', generation = 1, signals = [] } = options;
  const groupOf = (rank: number, links: RingLinks | undefined) => {
    const rankId = { runId, generation, rank, worldSize };
    checkRankId(rankId);
    return new RingGroup(rankId, links, { signal: signals[rank] });
  };
  if (worldSize === 1) return [groupOf(0, undefined)];
  return inMemoryLinks(worldSize).map((links, rank) => groupOf(rank, links));
}

/** The connections of all ranks of a ring, by rank. */
export function inMemoryLinks(worldSize: number): RingLinks[] {
  // Edge n connects rank n to the next one.
  const edges = Array.from({ length: worldSize }, () => ({ data: memoryDuplexPair(), control: memoryDuplexPair() }));
  return edges.map(({ data, control }, rank) => {
    const incoming = edges[ringNeighbours(rank, worldSize).previous]!;
    return {
      data: { previous: incoming.data[1], next: data[0] },
      control: { previous: incoming.control[1], next: control[0] },
    };
  });
}
