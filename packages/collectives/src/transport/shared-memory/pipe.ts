import { deferred, WeftError } from '@weft/common';
import type { ByteSink, Duplex, PendingWrite, Receiver, Sender } from '../duplex.js';
import { SharedMemory } from './memory.js';

/** After this many bytes the receiver lets other work of the event loop run. */
const YIELD_BYTES = 2 ** 22;

/**
 * Sends bytes to a process of the same machine through shared memory, for a third of the processor time of a local
 * socket. The duplex only wakes a waiting peer; when it closes, the pipe is closed too.
 */
export class SharedSender implements Sender {
  readonly closed: Promise<Error | undefined>;
  readonly #duplex: Duplex;
  readonly #notifier: Notifier;
  readonly #writes: PendingWrite[] = [];
  #pipe: SharedPipe | undefined;
  #isEnding = false;
  #isMoving = false;

  constructor(duplex: Duplex, pipe: SharedPipe) {
    this.#duplex = duplex;
    this.#pipe = pipe;
    this.closed = duplex.closed.then((cause) => {
      this.#release();
      return cause;
    });
    this.#notifier = new Notifier(duplex, () => this.#move());
  }

  write(bytes: Uint8Array, flushed: () => void): void {
    if (this.#pipe === undefined || this.#isEnding) return;
    this.#writes.push({ rest: bytes, flushed });
    this.#move();
  }

  end(): void {
    this.#isEnding = true;
    this.#move();
  }

  destroy(): void {
    this.#release();
    this.#duplex.destroy();
  }

  #release(): void {
    this.#writes.length = 0;
    this.#pipe?.close();
    this.#pipe = undefined;
  }

  #move(): void {
    // `flushed` may write again; those bytes leave from the loop that is running.
    if (this.#isMoving) return;
    this.#isMoving = true;
    while (this.#moveOldest());
    this.#isMoving = false;
    if (this.#isEnding && this.#writes.length === 0) this.#duplex.end();
  }

  /** Moves as much of the oldest write as the pipe takes; false when nothing more can be done now. */
  #moveOldest(): boolean {
    const [pipe, write] = [this.#pipe, this.#writes[0]];
    if (pipe === undefined || write === undefined) return false;
    const count = pipe.put(write.rest);
    if (count > 0 && pipe.clearWaiting('reader')) this.#notifier.notify();
    write.rest = write.rest.subarray(count);
    if (write.rest.length > 0) {
      pipe.setWaiting('writer');
      return pipe.freeBytes > 0;
    }
    this.#writes.shift();
    write.flushed();
    return true;
  }
}

/** Receives the bytes of a `SharedSender` in another process. */
export class SharedReceiver implements Receiver {
  readonly closed: Promise<Error | undefined>;
  readonly #close: (cause: Error | undefined) => void;
  readonly #duplex: Duplex;
  readonly #notifier: Notifier;
  #pipe: SharedPipe | undefined;
  #sink: ByteSink | undefined;
  #ended: { readonly cause: Error | undefined } | undefined;

  constructor(duplex: Duplex, pipe: SharedPipe) {
    this.#duplex = duplex;
    this.#pipe = pipe;
    ({ promise: this.closed, resolve: this.#close } = deferred<Error | undefined>());
    this.#notifier = new Notifier(duplex, () => this.#move());
    void duplex.closed.then((cause) => {
      // Bytes that are still in the pipe arrive first.
      this.#ended = { cause };
      this.#move();
    });
  }

  receive(sink: ByteSink): void {
    this.#sink = sink;
    this.#move();
  }

  destroy(): void {
    this.#release(undefined);
    this.#duplex.destroy();
  }

  #release(cause: Error | undefined): void {
    this.#pipe?.close();
    this.#pipe = undefined;
    this.#sink = undefined;
    this.#close(cause);
  }

  #move(): void {
    let moved = 0;
    // `onBytes` may destroy this receiver or replace the sink.
    while (this.#pipe !== undefined) {
      const pipe = this.#pipe;
      const bytes = pipe.peek();
      if (bytes.length === 0) {
        if (this.#waitOrClose(pipe)) return;
        continue;
      }
      if (moved > YIELD_BYTES) {
        setImmediate(() => this.#move());
        return;
      }
      const target = this.#sink?.target();
      if (target === undefined) return;
      const count = Math.min(bytes.length, target.length);
      target.set(bytes.subarray(0, count));
      pipe.take(count);
      moved += count;
      if (pipe.clearWaiting('writer')) this.#notifier.notify();
      this.#sink?.onBytes(count);
    }
  }

  /** Of an empty pipe: closes when the peer has ended, else asks to be notified; false when bytes came meanwhile. */
  #waitOrClose(pipe: SharedPipe): boolean {
    if (this.#ended !== undefined) {
      this.#release(this.#ended.cause);
      return true;
    }
    pipe.setWaiting('reader');
    return pipe.filledBytes === 0;
  }
}

/** Wakes the peer of a shared pipe by writing one byte to the socket. Several notifications may arrive as one. */
class Notifier {
  static readonly #BYTE = Uint8Array.of(1);
  readonly #duplex: Duplex;

  constructor(duplex: Duplex, onNotified: () => void) {
    this.#duplex = duplex;
    const scratch = new Uint8Array(1);
    duplex.receive({ target: () => scratch, onBytes: onNotified });
  }

  notify(): void {
    this.#duplex.write(Notifier.#BYTE, () => {});
  }
}

/** A power of two, because the counts wrap at 2³²; small enough for the cache. 1 to 8 MiB measured alike. */
const CAPACITY = 2 ** 21;
/** In int32 values: each number lies on a cache line of its own, because two processes write them. */
const CACHE_LINE = 16;
const [WRITTEN, READ] = [0, CACHE_LINE];
const WAITING = { reader: 2 * CACHE_LINE, writer: 3 * CACHE_LINE } as const;
/** The numbers have a page of their own. */
const FIRST_BYTE = 4096;

/**
 * A ring buffer in shared memory with one writer and one reader process. Neither blocks in it: an end that finds no
 * space, or no bytes, calls `setWaiting`; the peer notifies it after moving on.
 *
 * No wake-up is lost: one end sets its flag and then reads the counts, the other changes a count and then reads the
 * flag. All accesses go through `Atomics`, which are sequentially consistent, so at least one end sees the other's write.
 */
export class SharedPipe {
  readonly #memory: SharedMemory;
  readonly #numbers: Int32Array;
  readonly #bytes: Uint8Array;

  /** Creates a pipe; `undefined` where the system has no memory to share. */
  static create(): SharedPipe | undefined {
    const memory = SharedMemory.create(FIRST_BYTE + CAPACITY);
    return memory && new SharedPipe(memory);
  }

  /** Opens a pipe that another process created; `undefined` when this process cannot reach it. */
  static open(name: string): SharedPipe | undefined {
    try {
      return new SharedPipe(SharedMemory.open(name, FIRST_BYTE + CAPACITY));
    } catch (thrown) {
      if (WeftError.is(thrown, 'unavailable')) return undefined;
      throw thrown;
    }
  }

  private constructor(memory: SharedMemory) {
    this.#memory = memory;
    const { buffer, byteOffset } = memory.bytes;
    this.#numbers = new Int32Array(buffer, byteOffset, FIRST_BYTE / 4);
    this.#bytes = new Uint8Array(buffer, byteOffset + FIRST_BYTE, CAPACITY);
  }

  /** By this name another process opens the pipe. */
  get name(): string {
    return this.#memory.name;
  }

  /** From now on no other process can open it. */
  hide(): void {
    this.#memory.hide();
  }

  get filledBytes(): number {
    return (Atomics.load(this.#numbers, WRITTEN) - Atomics.load(this.#numbers, READ)) >>> 0;
  }

  get freeBytes(): number {
    return CAPACITY - this.filledBytes;
  }

  /** Writer: copies as many of `bytes` into the pipe as fit, and returns their number. */
  put(bytes: Uint8Array): number {
    const at = Atomics.load(this.#numbers, WRITTEN) & (CAPACITY - 1);
    const count = Math.min(bytes.length, this.freeBytes);
    const beforeWrap = Math.min(count, CAPACITY - at);
    this.#bytes.set(bytes.subarray(0, beforeWrap), at);
    if (count > beforeWrap) this.#bytes.set(bytes.subarray(beforeWrap, count), 0);
    Atomics.add(this.#numbers, WRITTEN, count);
    return count;
  }

  /** Reader: the oldest bytes, up to where the buffer wraps, as a view that is valid until `take`. */
  peek(): Uint8Array {
    const at = Atomics.load(this.#numbers, READ) & (CAPACITY - 1);
    return this.#bytes.subarray(at, at + Math.min(this.filledBytes, CAPACITY - at));
  }

  /** Reader: frees the oldest `count` bytes. */
  take(count: number): void {
    Atomics.add(this.#numbers, READ, count);
  }

  /** Asks the peer for a notification. The caller must check the pipe once more before it waits. */
  setWaiting(end: PipeEnd): void {
    Atomics.store(this.#numbers, WAITING[end], 1);
  }

  /** Clears the flag of an end; true when it was set, and that end must be notified. */
  clearWaiting(end: PipeEnd): boolean {
    return Atomics.exchange(this.#numbers, WAITING[end], 0) === 1;
  }

  /** Call once. Touching the pipe afterwards kills the process. */
  close(): void {
    this.#memory.close();
  }
}

type PipeEnd = keyof typeof WAITING;
