import { WeftError } from '@weft/common';
import { ringNeighbours } from '@weft/topology';
import { Courier, type Fault } from './fault.js';
import { FloatAdder } from './float-adder.js';
import type { RingLinks, Sink } from './link.js';
import {
  checkAgreement,
  decodePassHeader,
  encodePassHeader,
  PASS_HEADER_BYTES,
  type PassHeader,
} from './pass-header.js';
import type { PassPlan } from './pass-plan.js';
import { RingPass } from './ring-pass.js';
import { type RingPlace, rankGone } from './ring-place.js';
import { settledWithin } from './settled-within.js';

const STAGING_BYTES = 262_144;
/** How long the news of who is gone may take to come round after a connection broke. */
const NEWS_GRACE_MS = 2_000;
const CLOSE_GRACE_MS = 1_000;

interface PassUnderWay {
  readonly header: PassHeader;
  readonly pass: RingPass;
  readonly agreed: () => void;
  readonly reject: (error: WeftError) => void;
}

/** Runs passes over the links of one rank, one at a time, and finds out why when they fail. */
export class RingRunner implements Sink {
  bytesSent = 0;
  bytesReceived = 0;
  readonly #place: RingPlace;
  readonly #links: RingLinks;
  readonly #couriers: { readonly previous: Courier; readonly next: Courier };
  readonly #adder = new FloatAdder(STAGING_BYTES);
  /** The header of the current or the coming pass, as far as it has arrived from the previous rank. */
  readonly #header = new Uint8Array(PASS_HEADER_BYTES);
  #headerBytes = 0;
  /** Passes started so far, which is also the number of the current one. */
  #passes = 0;
  #current: PassUnderWay | undefined;
  #fault: Fault | undefined;

  constructor(place: RingPlace, links: RingLinks) {
    this.#place = place;
    this.#links = links;
    const heard = (fault: Fault) => this.#fail(fault);
    this.#couriers = {
      previous: new Courier(links.control.previous, heard),
      next: new Courier(links.control.next, heard),
    };
    this.#watch();
    links.data.previous.pull(this);
  }

  /** Does one pass. To be called again only after it settled. */
  async run(request: Omit<PassHeader, 'pass'>, plan: PassPlan): Promise<void> {
    const header: PassHeader = { ...request, pass: ++this.#passes };
    if (this.#fault !== undefined && this.#fault.fromPass <= header.pass) throw this.#fault.error;
    const pass = new RingPass(encodePassHeader(header), plan, this.#links.data.next, this.#adder);
    try {
      await new Promise<unknown>((resolve, reject) => {
        const agreement = new Promise<void>((agreed) => {
          this.#current = { header, pass, agreed, reject };
        });
        Promise.all([agreement, pass.done]).then(resolve, reject);
        pass.start();
        this.#agree();
        this.#links.data.previous.pull(this);
      });
    } finally {
      this.#current = undefined;
      this.bytesSent += pass.bytesSent;
      this.bytesReceived += pass.bytesReceived + PASS_HEADER_BYTES;
    }
    this.#headerBytes = 0;
    if (this.#fault === undefined) this.#links.data.previous.pull(this);
    else this.#dropData();
  }

  target(): Uint8Array | undefined {
    if (this.#headerBytes < PASS_HEADER_BYTES) return this.#header.subarray(this.#headerBytes);
    return this.#current?.pass.target();
  }

  landed(bytes: number): void {
    if (this.#headerBytes === PASS_HEADER_BYTES) this.#current?.pass.landed(bytes);
    else {
      this.#headerBytes += bytes;
      this.#agree();
    }
  }

  /** This rank gives up, for the reason `error`; the others hear that it is gone. */
  leave(error: WeftError, how: string): void {
    const fromPass = this.#current?.header.pass ?? this.#passes + 1;
    this.#fail({ fromPass, error }, rankGone(this.#place, this.#place.rank, how));
  }

  /** Closes all connections, after the last notices have left. To be called after `leave`. */
  async close(): Promise<void> {
    const couriers = [this.#couriers.previous, this.#couriers.next];
    for (const courier of couriers) courier.end();
    await settledWithin(Promise.all(couriers.map((courier) => courier.closed)), CLOSE_GRACE_MS);
    for (const courier of couriers) courier.destroy();
    this.#dropData();
  }

  /** Once both this rank's pass and the previous rank's header are there: are they about the same thing? */
  #agree(): void {
    if (this.#current === undefined || this.#headerBytes < PASS_HEADER_BYTES) return;
    const { previous } = ringNeighbours(this.#place.rank, this.#place.worldSize);
    try {
      checkAgreement(decodePassHeader(this.#header), previous, this.#current.header, this.#place.rank);
      this.#current.agreed();
    } catch (thrown) {
      this.#fail({ fromPass: this.#current.header.pass, error: WeftError.from(thrown) });
    }
  }

  /** A closed data connection hurts the current pass only if the pass still needs it. */
  #watch(): void {
    const { previous, next } = ringNeighbours(this.#place.rank, this.#place.worldSize);
    void this.#links.data.previous.closed.then((cause) => {
      const hurt = this.#headerBytes < PASS_HEADER_BYTES || this.#current?.pass.receivedAll === false;
      return this.#lost(previous, hurt, this.#couriers.previous, cause);
    });
    void this.#links.data.next.closed.then((cause) =>
      this.#lost(next, this.#current?.pass.sentAll === false, this.#couriers.next, cause),
    );
  }

  /**
   * A neighbour's data connection closed. Perhaps it only gave up because of somebody else, and says so on its
   * control connection: blame it once that is closed too, or silent for long.
   */
  async #lost(rank: number, hurt: boolean, courier: Courier, cause: Error | undefined): Promise<void> {
    const current = this.#current;
    const fromPass = current !== undefined && hurt ? current.header.pass : this.#passes + 1;
    if (this.#fault !== undefined && this.#fault.fromPass <= fromPass) return;
    const doing = current === undefined ? '' : ` during ${current.header.operation}`;
    const why = cause === undefined ? '' : ` (${cause.message})`;
    const how = `its connection to rank ${this.#place.rank} closed${doing}${why}`;
    await settledWithin(courier.closed, NEWS_GRACE_MS);
    this.#fail({ fromPass, error: rankGone(this.#place, rank, how) });
  }

  /** The first news counts, unless later news concerns an earlier pass. */
  #fail(fault: Fault, told: WeftError = fault.error): void {
    if (this.#fault !== undefined && this.#fault.fromPass <= fault.fromPass) return;
    this.#fault = fault;
    this.#couriers.previous.tell({ fromPass: fault.fromPass, error: told });
    this.#couriers.next.tell({ fromPass: fault.fromPass, error: told });
    if (this.#current !== undefined && this.#current.header.pass < fault.fromPass) return;
    this.#dropData();
    this.#current?.pass.stop();
    this.#current?.reject(fault.error);
  }

  #dropData(): void {
    this.#links.data.previous.destroy();
    this.#links.data.next.destroy();
  }
}
