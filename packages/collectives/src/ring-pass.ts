import type { FloatAdder } from './float-adder.js';
import type { Outlet, Sink } from './link.js';
import type { Leg, PassPlan, Piece } from './pass-plan.js';

/** Large reads spare system calls, small ones let the next rank start sooner; measured best in between. */
const MAX_LANDING_BYTES = 262_144;

/**
 * One rank's work in one pass: takes what the previous rank sends, adds it or puts it in place, and sends on what is
 * ready. Receiving, adding and sending overlap; at most one write is under way, and it takes along all that became
 * ready during the one before. `done` resolves when everything has arrived and all written memory is free again.
 */
export class RingPass implements Sink {
  readonly done: Promise<void>;
  bytesSent = 0;
  bytesReceived = 0;
  readonly #legs: readonly Leg[];
  readonly #pieces: readonly Piece[];
  readonly #outlet: Pick<Outlet, 'write'>;
  readonly #adder: FloatAdder;
  #finish: () => void = () => {};
  #stopped = false;

  /** The incoming leg in hand and how many of its bytes are in their place. */
  #leg = 0;
  #legBytes = 0;
  /** Bytes of a value whose rest has not arrived; they wait at the start of the staging area. */
  #held = 0;

  /** The outgoing piece in hand and how many of its bytes were written. */
  #piece = 0;
  #pieceBytes = 0;
  #writing = false;

  constructor(header: Uint8Array, plan: PassPlan, outlet: Pick<Outlet, 'write'>, adder: FloatAdder) {
    this.#legs = plan.incoming;
    this.#pieces = [{ bytes: header, awaits: undefined }, ...plan.outgoing];
    this.#outlet = outlet;
    this.#adder = adder;
    this.done = new Promise((resolve) => {
      this.#finish = resolve;
    });
    this.#skipEmptyLegs();
  }

  get receivedAll(): boolean {
    return this.#leg === this.#legs.length;
  }

  get sentAll(): boolean {
    return !this.#writing && this.#piece === this.#pieces.length;
  }

  /** Sends what the plan starts with; to be called once, before bytes are landed. */
  start(): void {
    this.#send();
  }

  /** Touches no memory of the plan from now on. `done` stays open. */
  stop(): void {
    this.#stopped = true;
  }

  target(): Uint8Array | undefined {
    const leg = this.#legs[this.#leg];
    if (leg === undefined || this.#stopped) return undefined;
    const rest = leg.bytes.length - this.#legBytes;
    if (!leg.sum) return leg.bytes.subarray(this.#legBytes, this.#legBytes + Math.min(rest, MAX_LANDING_BYTES));
    const staging = this.#adder.staging;
    return staging.subarray(this.#held, Math.min(staging.length, rest));
  }

  landed(bytes: number): void {
    const leg = this.#legs[this.#leg];
    if (leg === undefined || this.#stopped) return;
    this.bytesReceived += bytes;
    this.#legBytes += leg.sum ? this.#addStaged(leg, this.#held + bytes) : bytes;
    if (this.#legBytes === leg.bytes.length) {
      this.#leg++;
      this.#legBytes = 0;
      this.#skipEmptyLegs();
    }
    this.#send();
  }

  /** Adds the whole values among the staged bytes and returns how many bytes they were. */
  #addStaged(leg: Leg, stagedBytes: number): number {
    const count = Math.floor(stagedBytes / 4);
    if (count > 0) {
      const { buffer, byteOffset } = leg.bytes;
      this.#adder.addTo(new Float32Array(buffer, byteOffset + this.#legBytes, count), count);
    }
    this.#held = stagedBytes - count * 4;
    if (this.#held > 0) this.#adder.staging.copyWithin(0, count * 4, stagedBytes);
    return count * 4;
  }

  #skipEmptyLegs(): void {
    while (this.#legs[this.#leg]?.bytes.length === 0) this.#leg++;
  }

  #send(): void {
    if (this.#writing || this.#stopped) return;
    for (; this.#piece < this.#pieces.length; this.#piece++, this.#pieceBytes = 0) {
      const piece = this.#pieces[this.#piece]!;
      const ready = this.#readyBytes(piece);
      if (ready > this.#pieceBytes) {
        this.#write(piece.bytes.subarray(this.#pieceBytes, ready));
        return;
      }
      if (this.#pieceBytes < piece.bytes.length) return;
    }
    if (this.receivedAll) this.#finish();
  }

  #write(bytes: Uint8Array): void {
    this.#writing = true;
    this.#pieceBytes += bytes.length;
    this.bytesSent += bytes.length;
    this.#outlet.write(bytes, () => {
      this.#writing = false;
      this.#send();
    });
  }

  /** How many bytes of a piece may leave: those that are in their place. */
  #readyBytes({ bytes, awaits = -1 }: Piece): number {
    if (awaits < this.#leg) return bytes.length;
    return awaits === this.#leg ? this.#legBytes : 0;
  }
}
