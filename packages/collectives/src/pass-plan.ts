import { ringChunks } from '@weft/topology';

/**
 * One pass of a rank through the ring. Bytes come in as `incoming`, leg after leg, and go out as `own` followed by
 * the first `forwarded` incoming legs: what is passed on is what has just arrived, so a leg can leave while its
 * rest is still arriving.
 */
export interface PassPlan {
  /** What this rank sends first. */
  readonly own: Uint8Array;
  readonly incoming: readonly Leg[];
  readonly forwarded: number;
}

export interface Leg {
  /** Where the bytes go. */
  readonly bytes: Uint8Array;
  /** The bytes are float32 values to be added to those already there, instead of replacing them. */
  readonly sum: boolean;
}

const NOTHING = new Uint8Array(0);

/**
 * Reduce-scatter, and with `gather` the all-gather after it. In leg s rank r sends chunk r−1−s and adds what
 * arrives to chunk r−2−s, so that after worldSize−1 legs chunk r holds the sum over all ranks, in the order
 * r+1, r+2, …, r: the same on every run. The all-gather then passes the finished chunks round.
 */
export function reducePlan(values: Float32Array, rank: number, worldSize: number, gather: boolean): PassPlan {
  const chunks = ringChunks(values.length, worldSize).map(({ first, end }) => bytesOf(values.subarray(first, end)));
  const chunk = (number: number) => chunks[((number % worldSize) + worldSize) % worldSize] ?? NOTHING;
  const legs = worldSize - 1;
  const incoming: Leg[] = [];
  for (let s = 0; s < legs; s++) incoming.push({ bytes: chunk(rank - 2 - s), sum: true });
  if (gather) for (let s = 0; s < legs; s++) incoming.push({ bytes: chunk(rank - 1 - s), sum: false });
  return { own: chunk(rank - 1), incoming, forwarded: Math.max(0, incoming.length - 1) };
}

/** All-gather: `parts[rank]` goes round the ring, the others arrive in place. */
export function gatherPlan(parts: readonly Uint8Array[], rank: number): PassPlan {
  const worldSize = parts.length;
  const part = (number: number) => parts[(number + worldSize) % worldSize] ?? NOTHING;
  const incoming = parts.slice(1).map((_, s) => ({ bytes: part(rank - 1 - s), sum: false }));
  return { own: part(rank), incoming, forwarded: Math.max(0, incoming.length - 1) };
}

/** Broadcast: from `root` along the ring, up to the rank before it. */
export function broadcastPlan(bytes: Uint8Array, root: number, rank: number, worldSize: number): PassPlan {
  if (rank === root) return { own: bytes, incoming: [], forwarded: 0 };
  const last = (root + worldSize - 1) % worldSize;
  return { own: NOTHING, incoming: [{ bytes, sum: false }], forwarded: rank === last ? 0 : 1 };
}

/** The memory of a typed array as bytes, without a copy. */
export function bytesOf(view: Float32Array | Uint8Array): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}
