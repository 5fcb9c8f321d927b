import { deferred } from '@weft/common';
import { type ByteSink, copyInto, type Duplex, type PendingWrite } from './duplex.js';

/** Both ends of a connection within this process. It behaves like a socket. */
export function memoryDuplexPair(): readonly [Duplex, Duplex] {
  const forth = new MemoryPipe();
  const back = new MemoryPipe();
  const { promise: closed, resolve: close } = deferred<Error | undefined>();
  const end = (outgoing: MemoryPipe, incoming: MemoryPipe): Duplex => ({
    closed,
    receive: (sink) => incoming.receive(sink),
    write: (bytes, flushed) => outgoing.write(bytes, flushed),
    end: () => outgoing.end(() => close(undefined)),
    destroy: () => {
      forth.destroy();
      back.destroy();
      close(undefined);
    },
  });
  return [end(forth, back), end(back, forth)];
}

/** One direction. Bytes move in a later iteration of the event loop, as they do with sockets. */
class MemoryPipe {
  readonly #writes: PendingWrite[] = [];
  #sink: ByteSink | undefined;
  #isScheduled = false;
  #isDestroyed = false;
  #onEnd: (() => void) | undefined;

  write(bytes: Uint8Array, flushed: () => void): void {
    if (this.#isDestroyed || this.#onEnd !== undefined) return;
    this.#writes.push({ rest: bytes, flushed });
    this.#schedule();
  }

  receive(sink: ByteSink): void {
    this.#sink = sink;
    this.#schedule();
  }

  /** @param onEnd called when everything written has arrived */
  end(onEnd: () => void): void {
    this.#onEnd = onEnd;
    this.#schedule();
  }

  destroy(): void {
    this.#isDestroyed = true;
    this.#writes.length = 0;
  }

  #schedule(): void {
    if (this.#isScheduled || this.#isDestroyed) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      this.#move();
    });
  }

  #move(): void {
    for (let write = this.#writes[0]; write !== undefined && !this.#isDestroyed; write = this.#writes[0]) {
      if (this.#sink === undefined) return;
      write.rest = copyInto(write.rest, this.#sink);
      if (write.rest.length > 0) return;
      this.#writes.shift();
      write.flushed();
    }
    if (!this.#isDestroyed) this.#onEnd?.();
  }
}
