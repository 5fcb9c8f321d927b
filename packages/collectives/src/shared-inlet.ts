import { Bell } from './bell.js';
import type { Inlet, Sink, Wire } from './link.js';
import type { SharedPipe } from './shared-pipe.js';

/** After so many bytes the event loop has its turn. */
const TURN_BYTES = 2 ** 22;

/** Where the bytes of a `SharedOutlet` of another process arrive. */
export class SharedInlet implements Inlet {
  readonly closed: Promise<Error | undefined>;
  readonly #wire: Wire;
  readonly #bell: Bell;
  #pipe: SharedPipe | undefined;
  #sink: Sink | undefined;
  #ended: { readonly cause: Error | undefined } | undefined;
  #close: (cause: Error | undefined) => void = () => {};

  constructor(wire: Wire, pipe: SharedPipe) {
    this.#wire = wire;
    this.#pipe = pipe;
    this.closed = new Promise((resolve) => {
      this.#close = resolve;
    });
    this.#bell = new Bell(wire, () => this.#move());
    void wire.closed.then((cause) => {
      // What the other end left in the pipe still arrives.
      this.#ended = { cause };
      this.#move();
    });
  }

  pull(sink: Sink): void {
    this.#sink = sink;
    this.#move();
  }

  destroy(): void {
    this.#release(undefined);
    this.#wire.destroy();
  }

  #release(cause: Error | undefined): void {
    this.#pipe?.close();
    this.#pipe = undefined;
    this.#sink = undefined;
    this.#close(cause);
  }

  #move(): void {
    let moved = 0;
    // The sink may destroy this inlet, or change, with all that lands.
    while (this.#pipe !== undefined) {
      const pipe = this.#pipe;
      const bytes = pipe.peek();
      if (bytes.length === 0) {
        if (this.#settleEmpty(pipe)) return;
        continue;
      }
      if (moved > TURN_BYTES) {
        setImmediate(() => this.#move());
        return;
      }
      const target = this.#sink?.target();
      if (target === undefined) return;
      const count = Math.min(bytes.length, target.length);
      target.set(bytes.subarray(0, count));
      pipe.take(count);
      moved += count;
      if (pipe.takeAnnouncement('writer')) this.#bell.ring();
      this.#sink?.landed(count);
    }
  }

  /** Closes when an empty pipe stays so, else asks to be woken; false when bytes have come meanwhile. */
  #settleEmpty(pipe: SharedPipe): boolean {
    if (this.#ended !== undefined) {
      this.#release(this.#ended.cause);
      return true;
    }
    pipe.announce('reader');
    return pipe.filled === 0;
  }
}
