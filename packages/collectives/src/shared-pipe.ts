import { WeftError } from '@weft/common';
import { SharedMemory } from './shared-memory.js';

/** A power of two, so that the counts may run over; small enough to stay in the cache. 1 to 8 MiB measured alike. */
const CAPACITY = 2 ** 21;
/** Each number on a cache line of its own, as two processes write them. */
const LINE = 16;
const [WRITTEN, READ] = [0, LINE];
const WAITING = { reader: 2 * LINE, writer: 3 * LINE } as const;
const FIRST_BYTE = 4096;

type End = keyof typeof WAITING;

/**
 * A pipe of bytes in memory that two processes see, with one writer and one reader. Neither waits in it: whoever finds no room, or
 * no bytes, says that it waits and is to be called, by other means, when the other end has moved on.
 *
 * An end that announces itself and then looks at the counts, and one that moves a count and then looks for an announcement, cannot
 * both miss the other: all of it goes through `Atomics`, which V8 makes sequentially consistent in any memory. So nobody waits for a
 * call that does not come.
 */
export class SharedPipe {
  readonly #memory: SharedMemory;
  readonly #numbers: Int32Array;
  readonly #bytes: Uint8Array;

  /** A new pipe; `undefined` where the system has no memory to share. */
  static create(): SharedPipe | undefined {
    const memory = SharedMemory.create(FIRST_BYTE + CAPACITY);
    return memory && new SharedPipe(memory);
  }

  /** The pipe that another process made; `undefined` when it cannot be reached from here. */
  static open(name: string): SharedPipe | undefined {
    try {
      return new SharedPipe(SharedMemory.open(name, FIRST_BYTE + CAPACITY));
    } catch (thrown) {
      if (WeftError.from(thrown).code === 'unavailable') return undefined;
      throw thrown;
    }
  }

  private constructor(memory: SharedMemory) {
    this.#memory = memory;
    const { buffer, byteOffset } = memory.bytes;
    this.#numbers = new Int32Array(buffer, byteOffset, FIRST_BYTE / 4);
    this.#bytes = new Uint8Array(buffer, byteOffset + FIRST_BYTE, CAPACITY);
  }

  get name(): string {
    return this.#memory.name;
  }

  /** Lets no third process open it. */
  hide(): void {
    this.#memory.hide();
  }

  /** How many bytes lie in the pipe. */
  get filled(): number {
    return (Atomics.load(this.#numbers, WRITTEN) - Atomics.load(this.#numbers, READ)) >>> 0;
  }

  get room(): number {
    return CAPACITY - this.filled;
  }

  /** The writer puts in as many of `bytes` as there is room for, and is told how many. */
  put(bytes: Uint8Array): number {
    const at = Atomics.load(this.#numbers, WRITTEN) & (CAPACITY - 1);
    const count = Math.min(bytes.length, this.room);
    const beforeWrap = Math.min(count, CAPACITY - at);
    this.#bytes.set(bytes.subarray(0, beforeWrap), at);
    if (count > beforeWrap) this.#bytes.set(bytes.subarray(beforeWrap, count), 0);
    Atomics.add(this.#numbers, WRITTEN, count);
    return count;
  }

  /** The oldest bytes in the pipe for the reader, up to where the memory wraps; valid until it takes them. */
  peek(): Uint8Array {
    const at = Atomics.load(this.#numbers, READ) & (CAPACITY - 1);
    return this.#bytes.subarray(at, at + Math.min(this.filled, CAPACITY - at));
  }

  /** The reader gives the room of the oldest `count` bytes back. */
  take(count: number): void {
    Atomics.add(this.#numbers, READ, count);
  }

  /** One end says that it waits to be called; it then has to look once more before it does. */
  announce(end: End): void {
    Atomics.store(this.#numbers, WAITING[end], 1);
  }

  /** Takes an end's announcement away, and says whether there was one: then it is to be called. */
  takeAnnouncement(end: End): boolean {
    return Atomics.exchange(this.#numbers, WAITING[end], 0) === 1;
  }

  /** To be called once; the pipe must not be touched afterwards. */
  close(): void {
    this.#memory.close();
  }
}
