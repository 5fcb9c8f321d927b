/**
 * The port of the transport: bytes leave through a `Sender` and arrive, in order, at the `Receiver` of the peer. Three
 * implementations: sockets (`socket-duplex.ts`), memory that two processes share (`shared-memory/pipe.ts`), and memory
 * within one process (`memory-duplex.ts`).
 */

/** Both directions of one connection. */
export interface Duplex extends Receiver, Sender {}

/** The end of a connection at which bytes arrive. */
export interface Receiver {
  /**
   * Delivers arriving bytes to `sink` for as long as it names a target. When the sink wants bytes again after naming none,
   * call this again, but not from within `onBytes`.
   */
  receive(sink: ByteSink): void;
  /** Resolves when nothing more can arrive, with the error that closed the connection, if any; never rejects. */
  readonly closed: Promise<Error | undefined>;
  /** Closes at once. When this returns, the last target is no longer written to. */
  destroy(): void;
}

/** The end of a connection through which bytes leave. */
export interface Sender {
  /** Sends a view without copying it. `flushed` is called when its memory may be reused; never if the connection breaks. */
  write(bytes: Uint8Array, flushed: () => void): void;
  /** As of `Receiver`. */
  readonly closed: Promise<Error | undefined>;
  /** Closes after everything written has been sent. */
  end(): void;
  /** Closes at once. When this returns, no written view is read any more. */
  destroy(): void;
}

/** Where a receiver puts bytes: the sink names the memory before each read, so bytes arrive where they belong. */
export interface ByteSink {
  /** Memory for the next bytes (not empty), or `undefined` while none are wanted. */
  target(): Uint8Array | undefined;
  /** Called after `count` bytes were written to the start of the last target. */
  onBytes(count: number): void;
}

/** The unsent rest of a write. */
export interface PendingWrite {
  rest: Uint8Array;
  readonly flushed: () => void;
}

/** Copies as much of `bytes` into `sink` as it takes, and returns the rest. */
export function copyInto(bytes: Uint8Array, sink: ByteSink): Uint8Array {
  let rest = bytes;
  while (rest.length > 0) {
    const target = sink.target();
    if (target === undefined) break;
    const count = Math.min(target.length, rest.length);
    target.set(count === rest.length ? rest : rest.subarray(0, count));
    rest = rest.subarray(count);
    sink.onBytes(count);
  }
  return rest;
}

/** The memory of a typed array as bytes, without a copy. */
export function asBytes(view: ArrayBufferView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}
