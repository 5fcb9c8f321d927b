import { setTimeout as pause } from 'node:timers/promises';
import { WeftError } from '@weft/common';
import type { Address } from './address.js';
import { type Caller, callPeer } from './handshake.js';
import type { Wire } from './link.js';
import { localPathOf } from './local-address.js';
import { SocketWire } from './socket-wire.js';

const FIRST_RETRY_MS = 20;
const LAST_RETRY_MS = 500;

export interface PatientCallOptions {
  readonly address: Address;
  readonly token: string;
  /** Who shall answer, for messages: "rank 3". */
  readonly peer: string;
  /** How many connections are wanted. */
  readonly connections: number;
}

/** Calls to one peer, repeated for as long as it cannot be reached. */
export class PatientCall {
  readonly #options: PatientCallOptions;
  readonly #wires = new Set<Wire>();
  readonly #hungUp = new AbortController();
  #failure: WeftError | undefined;
  #answers = 0;

  constructor(options: PatientCallOptions) {
    this.#options = options;
  }

  get hasAnswered(): boolean {
    return this.#answers === this.#options.connections;
  }

  /** What is still missing, for a message. */
  get complaint(): string {
    const { address, peer } = this.#options;
    if (this.hasAnswered) return `${peer} has answered`;
    const why = this.#failure === undefined ? '' : ` (${this.#failure.message})`;
    return `${peer} did not answer at ${address.text}${why}`;
  }

  /** @throws WeftError what the peer refuses with, naming it; `cancelled` after `hangUp`. */
  async connect(caller: Caller): Promise<Wire> {
    const { address, token } = this.#options;
    for (let pauseMs = FIRST_RETRY_MS; ; pauseMs = Math.min(LAST_RETRY_MS, pauseMs * 2)) {
      const path = localPathOf(address.text);
      const wire = (path && (await SocketWire.connectLocally(path))) || SocketWire.connect(address);
      this.#wires.add(wire);
      if (this.#hungUp.signal.aborted) wire.destroy();
      try {
        await callPeer(wire, caller, token);
        this.#answers++;
        return wire;
      } catch (thrown) {
        wire.destroy();
        this.#wires.delete(wire);
        this.#failure = WeftError.from(thrown);
        // Not there yet, or not yet in this generation: it may still come.
        if (this.#failure.code !== 'unavailable' || this.#hungUp.signal.aborted) throw this.#named(this.#failure);
      }
      await pause(pauseMs, undefined, { signal: this.#hungUp.signal });
    }
  }

  /** Gives up, and closes what was connected. */
  hangUp(): void {
    this.#hungUp.abort();
    for (const wire of this.#wires) wire.destroy();
  }

  #named(failure: WeftError): WeftError {
    const message = `${this.#options.peer} at ${this.#options.address.text}: ${failure.message}`;
    return new WeftError(failure.code, message, { cause: failure, ...(failure.cure && { cure: failure.cure }) });
  }
}
