import type { Parcel, Sink, Wire } from './link.js';
import { pour } from './link.js';

/** The in-memory twin of a socket: two ends, each an inlet and an outlet. */
export function memoryWires(): readonly [Wire, Wire] {
  const forth = new MemoryPipe();
  const back = new MemoryPipe();
  let close: (cause: Error | undefined) => void = () => {};
  const closed = new Promise<Error | undefined>((resolve) => {
    close = resolve;
  });
  const end = (outgoing: MemoryPipe, incoming: MemoryPipe): Wire => ({
    closed,
    pull: (sink) => incoming.pull(sink),
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

/** One direction. Bytes move on a later turn of the event loop, as they do with sockets. */
class MemoryPipe {
  readonly #parcels: Parcel[] = [];
  #sink: Sink | undefined;
  #scheduled = false;
  #destroyed = false;
  #atEnd: (() => void) | undefined;

  write(bytes: Uint8Array, flushed: () => void): void {
    if (this.#destroyed || this.#atEnd !== undefined) return;
    this.#parcels.push({ rest: bytes, flushed });
    this.#schedule();
  }

  pull(sink: Sink): void {
    this.#sink = sink;
    this.#schedule();
  }

  end(atEnd: () => void): void {
    this.#atEnd = atEnd;
    this.#schedule();
  }

  destroy(): void {
    this.#destroyed = true;
    this.#parcels.length = 0;
  }

  #schedule(): void {
    if (this.#scheduled || this.#destroyed) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#move();
    });
  }

  #move(): void {
    for (let parcel = this.#parcels[0]; parcel !== undefined && !this.#destroyed; parcel = this.#parcels[0]) {
      if (this.#sink === undefined) return;
      parcel.rest = pour(parcel.rest, this.#sink);
      if (parcel.rest.length > 0) return;
      this.#parcels.shift();
      parcel.flushed();
    }
    if (!this.#destroyed) this.#atEnd?.();
  }
}
