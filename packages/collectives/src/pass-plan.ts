import { ringChunks } from '@weft/topology';

/**
 * One pass of a rank through the ring: what comes in, leg after leg, and what goes out, piece after piece. The pieces
 * of a rank are the legs of the next one, in the same order.
 */
export interface PassPlan {
  readonly incoming: readonly Leg[];
  readonly outgoing: readonly Piece[];
}

export interface Leg {
  /** Where the bytes go. */
  readonly bytes: Uint8Array;
  /** The bytes are float32 values to be added to those already there, instead of replacing them. */
  readonly sum: boolean;
}

export interface Piece {
  readonly bytes: Uint8Array;
  /** The number of the leg that brings these bytes, which may leave as they arrive; `undefined` for own ones. */
  readonly awaits: number | undefined;
}

/** Small enough that a block is still in the cache when it is passed on. */
const BLOCK_VALUES = 65_536;
/** How many blocks later a block takes its next leg: time for the neighbour to have it ready. */
const LAG_BLOCKS = 2;

/**
 * Reduce-scatter, and with `gather` the all-gather after it. In leg s of the ring rank r sends chunk r−1−s and adds
 * what arrives to chunk r−2−s, so that after worldSize−1 legs chunk r holds the sum over all ranks, in the order
 * r+1, r+2, …, r: the same on every run. worldSize−1 more legs pass the finished chunks round.
 *
 * Each chunk goes in blocks, and the legs of different blocks are interleaved: leg s of block b has turn
 * b + s·LAG_BLOCKS. So a block is sent on soon after it arrived, and no rank waits for a whole chunk.
 */
export function reducePlan(values: Float32Array, rank: number, worldSize: number, gather: boolean): PassPlan {
  const chunks = ringChunks(values.length, worldSize);
  const blocks = Math.ceil((chunks[0]!.end - chunks[0]!.first) / BLOCK_VALUES);
  const legs = (worldSize - 1) * (gather ? 2 : 1);
  const blockBytes = (chunk: number, block: number): Uint8Array => {
    const { first, end } = chunks[(chunk + 2 * worldSize) % worldSize]!;
    const start = Math.min(end, first + block * BLOCK_VALUES);
    return bytesOf(values.subarray(start, Math.min(end, start + BLOCK_VALUES)));
  };
  // A leg's bytes are the next leg's piece; in the all-gather, chunk numbers go on falling.
  const pieceBytes = (block: number, leg: number) => blockBytes(rank - 1 - (leg % worldSize), block);
  const incoming: Leg[] = [];
  const outgoing: Piece[] = [];
  const numbers = new Map<number, number>();
  for (let turn = 0; turn < blocks + (legs - 1) * LAG_BLOCKS; turn++)
    for (let leg = legs - 1; leg >= 0; leg--) {
      const block = turn - leg * LAG_BLOCKS;
      if (block < 0 || block >= blocks) continue;
      outgoing.push({
        bytes: pieceBytes(block, leg),
        awaits: leg === 0 ? undefined : numbers.get(block * legs + leg - 1),
      });
      numbers.set(block * legs + leg, incoming.length);
      incoming.push({ bytes: pieceBytes(block, leg + 1), sum: leg < worldSize - 1 });
    }
  return { incoming, outgoing };
}

/** All-gather: `parts[rank]` goes round the ring, the others arrive in place. */
export function gatherPlan(parts: readonly Uint8Array[], rank: number): PassPlan {
  const worldSize = parts.length;
  const part = (number: number) => parts[(number + worldSize) % worldSize]!;
  const incoming = parts.slice(1).map((_, leg) => ({ bytes: part(rank - 1 - leg), sum: false }));
  const outgoing = incoming.map((_, leg) => ({ bytes: part(rank - leg), awaits: leg === 0 ? undefined : leg - 1 }));
  return { incoming, outgoing };
}

/** Broadcast: from `root` along the ring, up to the rank before it. */
export function broadcastPlan(bytes: Uint8Array, root: number, rank: number, worldSize: number): PassPlan {
  const last = (root + worldSize - 1) % worldSize;
  return {
    incoming: rank === root ? [] : [{ bytes, sum: false }],
    outgoing: rank === last ? [] : [{ bytes, awaits: rank === root ? undefined : 0 }],
  };
}

/** The memory of a typed array as bytes, without a copy. */
export function bytesOf(view: ArrayBufferView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}
