import { ringNeighbours } from '@weft/topology';
import type { RingLinks, Wire } from './link.js';
import { memoryWires } from './memory-wire.js';
import type { ProcessGroup } from './process-group.js';
import { RingGroup } from './ring-group.js';
import { checkPlace } from './ring-place.js';

export interface InMemoryRingOptions {
  /** Named in errors. Default "in-memory". */
  readonly runId?: string;
  /** Named in errors. Default 1. */
  readonly generation?: number;
  /** By rank: makes that rank leave the ring when aborted. */
  readonly signals?: readonly (AbortSignal | undefined)[];
}

/**
 * The process groups of all ranks of a ring inside this process, by rank: the same algorithm, checks and errors as
 * over TCP, without sockets.
 */
export function inMemoryRing(worldSize: number, options: InMemoryRingOptions = {}): ProcessGroup[] {
  const { runId = 'in-memory', generation = 1, signals = [] } = options;
  const groupOf = (rank: number, links: RingLinks | undefined) => {
    const place = { runId, generation, rank, worldSize };
    checkPlace(place);
    return new RingGroup(place, links, { signal: signals[rank] });
  };
  if (worldSize === 1) return [groupOf(0, undefined)];
  return memoryLinks(worldSize).map((links, rank) => groupOf(rank, links));
}

/** The links of all ranks of a ring, by rank. */
export function memoryLinks(worldSize: number): RingLinks[] {
  // Edge n joins rank n to the next one.
  const edges = Array.from({ length: worldSize }, () => ({ data: memoryWires(), control: memoryWires() }));
  return edges.map(({ data, control }, rank) => {
    const { previous } = ringNeighbours(rank, worldSize);
    const incoming = edges[previous]!;
    const [nextData, nextControl]: [Wire, Wire] = [data[0], control[0]];
    return {
      data: { previous: incoming.data[1], next: nextData },
      control: { previous: incoming.control[1], next: nextControl },
    };
  });
}
