import { Bell } from './bell.js';
import type { Outlet, Parcel, Wire } from './link.js';
import type { SharedPipe } from './shared-pipe.js';

/**
 * Where bytes leave for a process of the same machine: through memory both see, which takes a third of the processor time of a
 * local socket. The wire wakes whoever waits, and its end is the end of both.
 */
export class SharedOutlet implements Outlet {
  readonly closed: Promise<Error | undefined>;
  readonly #wire: Wire;
  readonly #bell: Bell;
  readonly #parcels: Parcel[] = [];
  #pipe: SharedPipe | undefined;
  #ending = false;
  #moving = false;

  constructor(wire: Wire, pipe: SharedPipe) {
    this.#wire = wire;
    this.#pipe = pipe;
    this.closed = wire.closed.then((cause) => {
      this.#release();
      return cause;
    });
    this.#bell = new Bell(wire, () => this.#move());
  }

  write(bytes: Uint8Array, flushed: () => void): void {
    if (this.#pipe === undefined || this.#ending) return;
    this.#parcels.push({ rest: bytes, flushed });
    this.#move();
  }

  end(): void {
    this.#ending = true;
    this.#move();
  }

  destroy(): void {
    this.#release();
    this.#wire.destroy();
  }

  #release(): void {
    this.#parcels.length = 0;
    this.#pipe?.close();
    this.#pipe = undefined;
  }

  #move(): void {
    // `flushed` may write again, whose bytes then leave from here.
    if (this.#moving) return;
    this.#moving = true;
    while (this.#moveParcel());
    this.#moving = false;
    if (this.#ending && this.#parcels.length === 0) this.#wire.end();
  }

  /** Moves the oldest parcel, or as much of it as there is room for; false when there is nothing more to be done. */
  #moveParcel(): boolean {
    const [pipe, parcel] = [this.#pipe, this.#parcels[0]];
    if (pipe === undefined || parcel === undefined) return false;
    const count = pipe.put(parcel.rest);
    if (count > 0 && pipe.takeAnnouncement('reader')) this.#bell.ring();
    parcel.rest = parcel.rest.subarray(count);
    if (parcel.rest.length > 0) {
      pipe.announce('writer');
      return pipe.room > 0;
    }
    this.#parcels.shift();
    parcel.flushed();
    return true;
  }
}
