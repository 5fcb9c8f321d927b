import { WeftError } from '@weft/common';
import { type Range, ringChunks } from '@weft/topology';
import type { RingLinks } from './link.js';
import type { Operation } from './pass-header.js';
import { broadcastPlan, bytesOf, gatherPlan, type PassPlan, reducePlan } from './pass-plan.js';
import type { ProcessGroup } from './process-group.js';
import { type RingPlace, ringName } from './ring-place.js';
import { RingRunner } from './ring-runner.js';

const MAX_GATHER_BYTES = 2 ** 30;

export interface RingGroupOptions {
  /** Makes this rank leave the ring when aborted. */
  readonly signal?: AbortSignal | undefined;
  /** Called once when the group is closed. */
  readonly onClose?: () => void;
}

/** A process group over the links of a ring; without links, the group of a lone rank. */
export class RingGroup implements ProcessGroup {
  readonly rank: number;
  readonly worldSize: number;
  readonly #place: RingPlace;
  readonly #runner: RingRunner | undefined;
  readonly #stopListening: () => void;
  readonly #onClose: () => void;
  /** The end of the line of calls. */
  #last: Promise<unknown> = Promise.resolve();
  #left: WeftError | undefined;
  #closed: Promise<void> | undefined;
  #seconds = 0;

  constructor(place: RingPlace, links: RingLinks | undefined, { signal, onClose = () => {} }: RingGroupOptions = {}) {
    this.rank = place.rank;
    this.worldSize = place.worldSize;
    this.#place = place;
    this.#runner = links === undefined ? undefined : new RingRunner(place, links);
    this.#onClose = onClose;
    const abort = () => this.#leave('its part was cancelled', `the ring of ${ringName(place)} was cancelled`);
    signal?.addEventListener('abort', abort, { once: true });
    this.#stopListening = () => signal?.removeEventListener('abort', abort);
    if (signal?.aborted) abort();
  }

  get stats() {
    return {
      bytesSent: this.#runner?.bytesSent ?? 0,
      bytesReceived: this.#runner?.bytesReceived ?? 0,
      seconds: this.#seconds,
    };
  }

  allReduceSum(values: Float32Array): Promise<void> {
    const plan = () => reducePlan(values, this.rank, this.worldSize, true);
    return this.#inLine(() => this.#pass('all-reduce', values.length, plan));
  }

  reduceScatterSum(values: Float32Array): Promise<Range> {
    const plan = () => reducePlan(values, this.rank, this.worldSize, false);
    return this.#inLine(async () => {
      await this.#pass('reduce-scatter', values.length, plan);
      return ringChunks(values.length, this.worldSize)[this.rank]!;
    });
  }

  allGather(bytes: Uint8Array): Promise<Uint8Array[]> {
    return this.#inLine(async () => {
      const sizes = new Float64Array(this.worldSize);
      sizes[this.rank] = bytes.length;
      await this.#gather(Array.from(sizes, (_, rank) => new Uint8Array(sizes.buffer, rank * 8, 8)));
      sizes.forEach((size, rank) => {
        if (!(size <= MAX_GATHER_BYTES))
          throw new WeftError('invalid_argument', `rank ${rank} gathers ${size} bytes, over the limit of 1 GiB`, {
            cure: 'gather in smaller pieces',
          });
      });
      const parts = Array.from(sizes, (size, rank) => (rank === this.rank ? bytes : new Uint8Array(size)));
      await this.#gather(parts);
      return parts;
    });
  }

  broadcast(bytes: Uint8Array, root: number): Promise<void> {
    if (!Number.isSafeInteger(root) || root < 0 || root >= this.worldSize)
      return Promise.reject(
        new WeftError('invalid_argument', `root ${root} is not one of the ranks 0 to ${this.worldSize - 1}`),
      );
    const plan = () => broadcastPlan(bytesOf(bytes), root, this.rank, this.worldSize);
    return this.#inLine(() => this.#pass('broadcast', bytes.length, plan, root));
  }

  barrier(): Promise<void> {
    // One byte of everybody: whoever holds them all knows that all have come.
    const parts = Array.from({ length: this.worldSize }, () => new Uint8Array(1));
    return this.#inLine(() => this.#pass('barrier', 0, () => gatherPlan(parts, this.rank)));
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#leave('it closed its process group', `the process group of ${ringName(this.#place)} is closed`);
    this.#stopListening();
    await this.#runner?.close();
    await this.#last;
    this.#onClose();
  }

  #leave(told: string, said: string): void {
    this.#left ??= new WeftError('cancelled', said);
    this.#runner?.leave(this.#left, told);
  }

  #inLine<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(async () => {
      const start = performance.now();
      try {
        return await work();
      } finally {
        this.#seconds += (performance.now() - start) / 1000;
      }
    });
    this.#last = result.catch(() => {});
    return result;
  }

  #gather(parts: readonly Uint8Array[]): Promise<void> {
    return this.#pass('all-gather', 0, () => gatherPlan(parts, this.rank));
  }

  async #pass(operation: Operation, length: number, plan: () => PassPlan, root = 0): Promise<void> {
    if (this.#left !== undefined) throw this.#left;
    await this.#runner?.run({ operation, length, root }, plan());
  }
}
