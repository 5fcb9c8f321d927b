import type { Range } from '@weft/topology';

/**
 * The ranks of one generation, who act together: every rank calls the same methods in the same order, with tensors
 * of the same length. Calls may be made without waiting for the one before; they run one after the other.
 *
 * Every method rejects with
 * - `unavailable` once a rank is gone, naming it, on every other rank, at this call and all later ones;
 * - `invalid_argument` when ranks disagree about the operation, its length or root, naming both;
 * - `cancelled` after this rank's own signal was aborted or its group closed.
 *
 * A group that failed once stays failed. After a rejection the contents of the arrays given are undefined, and the
 * group does not touch them any more.
 */
export interface ProcessGroup {
  /** 0 … worldSize − 1. */
  readonly rank: number;
  readonly worldSize: number;

  /**
   * Replaces `values` on every rank by the sum over all ranks, in place. The result is the same on all ranks bit for
   * bit, and from run to run: the order of additions depends on the length and worldSize only.
   */
  allReduceSum(values: Float32Array): Promise<void>;

  /**
   * The first half of an all-reduce: this rank gets the sum of the values [first, end) that it returns, which is its
   * chunk of `ringChunks(values.length, worldSize)`. The other values are undefined afterwards.
   */
  reduceScatterSum(values: Float32Array): Promise<Range>;

  /**
   * Everybody's bytes, by rank; their lengths may differ. The own entry is `bytes` itself.
   *
   * @throws `invalid_argument` for more than 1 GiB from one rank.
   */
  allGather(bytes: Uint8Array): Promise<Uint8Array[]>;

  /** Fills `bytes` on every rank with those of `root`, in place. */
  broadcast(bytes: Uint8Array, root: number): Promise<void>;

  /** Resolves once every rank has called it. */
  barrier(): Promise<void>;

  /** Leaves. Calls under way and later ones reject with `cancelled`; peers that still need this rank see it gone. */
  close(): Promise<void>;

  /** Totals since the group was made; `seconds` is the time during which an operation was under way. */
  readonly stats: { readonly bytesSent: number; readonly bytesReceived: number; readonly seconds: number };
}
