import { checkRank, checkWorldSize, partOf, type Range } from './range.js';

/** Who a rank listens to and who it sends to. In a ring of one, both are the rank itself. */
export interface RingNeighbours {
  readonly previous: number;
  readonly next: number;
}

/**
 * The neighbours of `rank` in the ring 0 → 1 → … → worldSize − 1 → 0.
 *
 * @throws `invalid_argument` when `rank` is not a rank of `worldSize`.
 */
export function ringNeighbours(rank: number, worldSize: number): RingNeighbours {
  checkRank(rank, worldSize);
  return { previous: (rank + worldSize - 1) % worldSize, next: (rank + 1) % worldSize };
}

/**
 * Cuts a vector of `length` elements into `worldSize` neighbouring chunks, one per rank, whose lengths differ by at
 * most one. Chunks are empty where there are more ranks than elements.
 *
 * @throws `invalid_argument` when `worldSize` is not a positive integer.
 */
export function ringChunks(length: number, worldSize: number): readonly Range[] {
  checkWorldSize(worldSize);
  return Array.from({ length: worldSize }, (_, rank) => partOf(0, length, rank, worldSize));
}
