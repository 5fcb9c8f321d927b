import { deferred, refuse, SerialQueue, WeftError } from '@weft/common';
import { type Range, ringChunks } from '@weft/topology';
import { generationName, type RankId } from '../connect/rank-id.js';
import { asBytes } from '../transport/duplex.js';
import { allGatherSchedule, broadcastSchedule, type RingSchedule, reduceSchedule } from './all-reduce.js';
import { type Collective, type RingLinks, RingRunner } from './runner.js';

/**
 * The ranks of one generation, acting together: every rank calls the same methods in the same order, with arrays of the
 * same length. A call need not wait for the one before; calls run one after the other.
 *
 * Every method rejects with
 * - `unavailable` naming the rank that is gone, on all other ranks, at this call and all later ones;
 * - `invalid_argument` when ranks disagree about the operation, its length or its root, naming both ranks;
 * - `cancelled` after this rank's own signal aborted or its group was closed.
 *
 * A group that failed stays failed. After a rejection the contents of the given arrays are undefined, and the group no
 * longer touches them.
 */
export interface ProcessGroup {
  /** 0 … worldSize − 1. */
  readonly rank: number;
  readonly worldSize: number;

  /**
   * Replaces `values` on every rank by the sum over all ranks, in place. The result is bit-equal on all ranks and in all
   * runs: the order of additions depends only on the length and on worldSize.
   */
  allReduceSum(values: Float32Array): Promise<void>;

  /**
   * The first half of an all-reduce: this rank gets the sum of its chunk of `ringChunks(values.length, worldSize)`, the
   * range that is returned. The other values are undefined afterwards.
   */
  reduceScatterSum(values: Float32Array): Promise<Range>;

  /**
   * Returns the bytes of every rank, by rank; their lengths may differ. This rank's entry is `bytes` itself.
   *
   * @throws WeftError `invalid_argument` for more than 1 GiB from one rank.
   */
  allGather(bytes: Uint8Array): Promise<Uint8Array[]>;

  /** Fills `bytes` on every rank with those of `root`, in place. */
  broadcast(bytes: Uint8Array, root: number): Promise<void>;

  /** Resolves once every rank has called it. */
  barrier(): Promise<void>;

  /** Resolves with the cause when the group is broken or closed, also while no operation runs. */
  readonly broken: Promise<WeftError>;

  /** Leaves the group. Current and later calls reject with `cancelled`; peers that still need this rank see it gone. */
  close(): Promise<void>;

  /** Totals since the group was created. */
  readonly stats: RingStats;
}

/** What a group has done so far. */
export interface RingStats {
  /** With the part of the operation under way that has left. */
  readonly bytesSent: number;
  readonly bytesReceived: number;
  /** The time during which operations ran. */
  readonly seconds: number;
  /** How many operations were begun. */
  readonly operations: number;
}

const MAX_GATHER_BYTES = 2 ** 30;

interface RingGroupOptions {
  /** When it aborts, this rank leaves the ring. */
  readonly signal?: AbortSignal | undefined;
  /** Called once, when the group is closed. */
  readonly onClose?: () => void;
}

/** A process group over the connections of a ring. */
export class RingGroup implements ProcessGroup {
  readonly rank: number;
  readonly worldSize: number;
  readonly #rankId: RankId;
  readonly #runner: RingRunner | undefined;
  readonly #calls = new SerialQueue();
  readonly #stopListening: () => void;
  readonly #onClose: () => void;
  /** Why this rank left. */
  #left: WeftError | undefined;
  #closed: Promise<void> | undefined;
  #seconds = 0;
  readonly #broken = deferred<WeftError>();

  /** @param links `undefined` for the group of a single rank */
  constructor(rankId: RankId, links: RingLinks | undefined, { signal, onClose = () => {} }: RingGroupOptions = {}) {
    this.rank = rankId.rank;
    this.worldSize = rankId.worldSize;
    this.#rankId = rankId;
    this.#runner = links === undefined ? undefined : new RingRunner(rankId, links, this.#broken.resolve);
    this.#onClose = onClose;
    const abort = () => this.#leave(`the ring of ${generationName(rankId)} was cancelled`, 'its part was cancelled');
    signal?.addEventListener('abort', abort, { once: true });
    this.#stopListening = () => signal?.removeEventListener('abort', abort);
    if (signal?.aborted) abort();
  }

  get broken(): Promise<WeftError> {
    return this.#broken.promise;
  }

  get stats() {
    return {
      bytesSent: this.#runner?.bytesSent ?? 0,
      bytesReceived: this.#runner?.bytesReceived ?? 0,
      seconds: this.#seconds,
      operations: this.#runner?.operations ?? 0,
    };
  }

  allReduceSum(values: Float32Array): Promise<void> {
    const schedule = () => reduceSchedule(values, this.rank, this.worldSize, true);
    return this.#inOrder(() => this.#run('all-reduce', values.length, schedule));
  }

  reduceScatterSum(values: Float32Array): Promise<Range> {
    const schedule = () => reduceSchedule(values, this.rank, this.worldSize, false);
    return this.#inOrder(async () => {
      await this.#run('reduce-scatter', values.length, schedule);
      return ringChunks(values.length, this.worldSize)[this.rank]!;
    });
  }

  allGather(bytes: Uint8Array): Promise<Uint8Array[]> {
    return this.#inOrder(async () => {
      const sizes = new Float64Array(this.worldSize);
      sizes[this.rank] = bytes.length;
      await this.#gather(Array.from(sizes, (_, rank) => new Uint8Array(sizes.buffer, rank * 8, 8)));
      sizes.forEach((size, rank) => {
        if (!(size <= MAX_GATHER_BYTES))
          refuse(
            'invalid_argument',
            `rank ${rank} gathers ${size} bytes, over the limit of 1 GiB`,
            'gather in smaller parts',
          );
      });
      const parts = Array.from(sizes, (size, rank) => (rank === this.rank ? bytes : new Uint8Array(size)));
      await this.#gather(parts);
      return parts;
    });
  }

  async broadcast(bytes: Uint8Array, root: number): Promise<void> {
    if (!Number.isSafeInteger(root) || root < 0 || root >= this.worldSize)
      refuse('invalid_argument', `root ${root} is not one of the ranks 0 to ${this.worldSize - 1}`);
    const schedule = () => broadcastSchedule(asBytes(bytes), root, this.rank, this.worldSize);
    await this.#inOrder(() => this.#run('broadcast', bytes.length, schedule, root));
  }

  barrier(): Promise<void> {
    // One byte of every rank: a rank that holds them all knows that all have called.
    const parts = Array.from({ length: this.worldSize }, () => new Uint8Array(1));
    return this.#inOrder(() => this.#run('barrier', 0, () => allGatherSchedule(parts, this.rank)));
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#leave(`the process group of ${generationName(this.#rankId)} is closed`, 'it closed its process group');
    this.#stopListening();
    await this.#runner?.close();
    await this.#calls.idle();
    this.#onClose();
  }

  /**
   * @param message of the error that this rank's calls reject with
   * @param how this rank is gone, in the errors of the others
   */
  #leave(message: string, how: string): void {
    this.#left ??= new WeftError('cancelled', message);
    this.#broken.resolve(this.#left);
    this.#runner?.leave(this.#left, how);
  }

  #inOrder<T>(work: () => Promise<T>): Promise<T> {
    return this.#calls.run(async () => {
      const startMs = performance.now();
      try {
        return await work();
      } finally {
        this.#seconds += (performance.now() - startMs) / 1000;
      }
    });
  }

  #gather(parts: readonly Uint8Array[]): Promise<void> {
    return this.#run('all-gather', 0, () => allGatherSchedule(parts, this.rank));
  }

  async #run(collective: Collective, length: number, schedule: () => RingSchedule, root = 0): Promise<void> {
    if (this.#left !== undefined) throw this.#left;
    await this.#runner?.run({ collective, length, root }, schedule());
  }
}
