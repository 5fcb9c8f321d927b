import type { FloatAdder } from './float-adder.js';
import type { Outlet, Sink } from './link.js';
import type { Leg, PassPlan } from './pass-plan.js';

/** Large reads spare system calls, small ones let the next rank start sooner; measured best in between. */
const MAX_LANDING_BYTES = 262_144;
/** The first outgoing part that is an incoming leg. */
const FORWARDED_FROM = 2;

/**
 * One rank's work in one pass: takes what the previous rank sends, adds it or puts it in place, and sends on what is
 * ready. Receiving, adding and sending overlap; at most one write is under way, and it takes along all that became
 * ready during the one before. `done` resolves when everything has arrived and all written memory is free again.
 */
export class RingPass implements Sink {
  readonly done: Promise<void>;
  bytesSent = 0;
  bytesReceived = 0;
  readonly #header: Uint8Array;
  readonly #plan: PassPlan;
  readonly #outlet: Pick<Outlet, 'write'>;
  readonly #adder: FloatAdder;
  #finish: () => void = () => {};
  #stopped = false;

  /** The incoming leg in hand and how many of its bytes are in their place. */
  #leg = 0;
  #legBytes = 0;
  /** Bytes of a value whose rest has not arrived; they wait at the start of the staging area. */
  #held = 0;

  /** Outgoing part 0 is the header, part 1 is `own`, part n the incoming leg n−2. */
  #part = 0;
  #partBytes = 0;
  #writing = false;

  constructor(header: Uint8Array, plan: PassPlan, outlet: Pick<Outlet, 'write'>, adder: FloatAdder) {
    this.#header = header;
    this.#plan = plan;
    this.#outlet = outlet;
    this.#adder = adder;
    this.done = new Promise((resolve) => {
      this.#finish = resolve;
    });
    this.#skipEmptyLegs();
  }

  get receivedAll(): boolean {
    return this.#leg === this.#plan.incoming.length;
  }

  get sentAll(): boolean {
    return !this.#writing && this.#part > this.#lastPart;
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
    const leg = this.#plan.incoming[this.#leg];
    if (leg === undefined || this.#stopped) return undefined;
    const rest = leg.bytes.length - this.#legBytes;
    if (!leg.sum) return leg.bytes.subarray(this.#legBytes, this.#legBytes + Math.min(rest, MAX_LANDING_BYTES));
    const staging = this.#adder.staging;
    return staging.subarray(this.#held, Math.min(staging.length, rest));
  }

  landed(bytes: number): void {
    const leg = this.#plan.incoming[this.#leg];
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
    while (this.#plan.incoming[this.#leg]?.bytes.length === 0) this.#leg++;
  }

  #send(): void {
    if (this.#writing || this.#stopped) return;
    for (; this.#part <= this.#lastPart; this.#part++, this.#partBytes = 0) {
      const part = this.#outgoing(this.#part);
      const ready = this.#readyBytes(part);
      if (ready > this.#partBytes) {
        this.#write(part.subarray(this.#partBytes, ready));
        return;
      }
      if (this.#partBytes < part.length) return;
    }
    if (this.receivedAll) this.#finish();
  }

  #write(bytes: Uint8Array): void {
    this.#writing = true;
    this.#partBytes += bytes.length;
    this.bytesSent += bytes.length;
    this.#outlet.write(bytes, () => {
      this.#writing = false;
      this.#send();
    });
  }

  get #lastPart(): number {
    return FORWARDED_FROM - 1 + this.#plan.forwarded;
  }

  #outgoing(part: number): Uint8Array {
    if (part < FORWARDED_FROM) return part === 0 ? this.#header : this.#plan.own;
    return this.#plan.incoming[part - FORWARDED_FROM]!.bytes;
  }

  /** How many bytes of the outgoing part in hand may leave: of an incoming leg, those that are in their place. */
  #readyBytes(part: Uint8Array): number {
    const leg = this.#part - FORWARDED_FROM;
    if (leg < this.#leg) return part.length;
    return leg === this.#leg ? this.#legBytes : 0;
  }
}
