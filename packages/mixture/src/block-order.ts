import { permute, unpermute } from './permute.js';

/** How far a shuffle carries sequences: what is read at about the same time lies in few parts of the data. */
export interface ShuffleBlocks {
  /** Neighbours in the index that stay together. */
  readonly blockSequences: number;
  /** Blocks whose sequences are mixed with each other. */
  readonly windowBlocks: number;
}

/**
 * The position of `index` in an order of [0, size) that is shuffled in two stages, computed without keeping the order: blocks of
 * neighbours come in a shuffled order, and within windows of several blocks every sequence has a shuffled place. So a run
 * reads a few parts of the data at a time, as one with a shuffle buffer does, and still visits everything exactly once. Blocks
 * begin at a place of the circle that the key chooses, so that the last one, which may be shorter, is another in each order.
 *
 * Errors as `permute`.
 */
export function permuteInBlocks(index: number, size: number, key: string, blocks: ShuffleBlocks): number {
  const { offset, whole, blockSequences, windowOf } = layout(size, key, blocks);
  const { start, length, name } = windowOf(index);
  const slot = start + permute(index - start, length, name);
  const block = Math.floor(slot / blockSequences);
  // What is left after the whole blocks comes last.
  const placed = block < whole ? permute(block, whole, `${key}/blocks`) : block;
  return (placed * blockSequences + (slot % blockSequences) + offset) % size;
}

/** The inverse of `permuteInBlocks`. */
export function unpermuteInBlocks(position: number, size: number, key: string, blocks: ShuffleBlocks): number {
  const { offset, whole, blockSequences, windowOf } = layout(size, key, blocks);
  const onLine = (position - offset + size) % size;
  const placed = Math.floor(onLine / blockSequences);
  const block = placed < whole ? unpermute(placed, whole, `${key}/blocks`) : placed;
  const slot = block * blockSequences + (onLine % blockSequences);
  const { start, length, name } = windowOf(slot);
  return start + unpermute(slot - start, length, name);
}

function layout(size: number, key: string, { blockSequences, windowBlocks }: ShuffleBlocks) {
  const windowLength = blockSequences * windowBlocks;
  return {
    blockSequences,
    offset: permute(0, size, `${key}/offset`),
    /** Blocks of full length. */
    whole: Math.floor(size / blockSequences),
    /** The window that holds a place of the order. */
    windowOf: (place: number) => {
      const window = Math.floor(place / windowLength);
      const start = window * windowLength;
      return { start, length: Math.min(windowLength, size - start), name: `${key}/window/${window}` };
    },
  };
}
