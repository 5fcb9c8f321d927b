import { setTimeout as pause } from 'node:timers/promises';
import { WeftError } from '@weft/common';
import type { Address } from './address.js';
import { type Caller, callPeer } from './handshake.js';
import type { Inlet, Wire } from './link.js';
import { localPathOf } from './local-address.js';
import { SharedInlet } from './shared-inlet.js';
import { SharedPipe } from './shared-pipe.js';
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

interface Reached {
  readonly wire: Wire;
  /** The memory through which the peer's bytes arrive, where it uses it. */
  readonly pipe: SharedPipe | undefined;
}

/** Calls to one peer, repeated for as long as it cannot be reached. */
export class PatientCall {
  readonly #options: PatientCallOptions;
  readonly #connections = new Set<{ destroy(): void }>();
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
    const { wire } = await this.#reach(caller, false);
    return wire;
  }

  /** A connection on which bytes only arrive, through memory where the peer is on this machine. @throws as `connect` */
  async connectInlet(caller: Caller): Promise<Inlet> {
    const { wire, pipe } = await this.#reach(caller, true);
    if (pipe === undefined) return wire;
    const inlet = new SharedInlet(wire, pipe);
    this.#connections.add(inlet);
    return inlet;
  }

  async #reach(caller: Caller, offersMemory: boolean): Promise<Reached> {
    for (let pauseMs = FIRST_RETRY_MS; ; pauseMs = Math.min(LAST_RETRY_MS, pauseMs * 2)) {
      try {
        const reached = await this.#try(caller, offersMemory);
        this.#answers++;
        return reached;
      } catch (thrown) {
        this.#failure = WeftError.from(thrown);
        // Not there yet, or not yet in this generation: it may still come.
        if (this.#failure.code !== 'unavailable' || this.#hungUp.signal.aborted) throw this.#named(this.#failure);
      }
      await pause(pauseMs, undefined, { signal: this.#hungUp.signal });
    }
  }

  async #try(caller: Caller, offersMemory: boolean): Promise<Reached> {
    const { address, token } = this.#options;
    const path = localPathOf(address.text);
    const local = path === undefined ? undefined : await SocketWire.connectLocally(path);
    const wire = local ?? SocketWire.connect(address);
    this.#connections.add(wire);
    if (this.#hungUp.signal.aborted) wire.destroy();
    let pipe: SharedPipe | undefined;
    try {
      if (offersMemory && local !== undefined) pipe = SharedPipe.create();
      const usesMemory = await callPeer(wire, caller, token, pipe?.name);
      pipe?.hide();
      if (usesMemory) return { wire, pipe };
      pipe?.close();
      return { wire, pipe: undefined };
    } catch (thrown) {
      pipe?.close();
      wire.destroy();
      this.#connections.delete(wire);
      throw thrown;
    }
  }

  /** Gives up, and closes what was connected. */
  hangUp(): void {
    this.#hungUp.abort();
    for (const connection of this.#connections) connection.destroy();
  }

  #named(failure: WeftError): WeftError {
    const message = `${this.#options.peer} at ${this.#options.address.text}: ${failure.message}`;
    return new WeftError(failure.code, message, { cause: failure, ...(failure.cure && { cure: failure.cure }) });
  }
}
