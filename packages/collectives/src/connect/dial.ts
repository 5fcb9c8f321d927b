import { type Address, formatAddress, retry, WeftError } from '@weft/common';
import type { Duplex, Receiver } from '../transport/duplex.js';
import { SharedPipe, SharedReceiver } from '../transport/shared-memory/pipe.js';
import { SocketDuplex } from '../transport/socket-duplex.js';
import { type Caller, callPeer } from './handshake.js';

const FIRST_RETRY_MS = 20;
const LAST_RETRY_MS = 500;

/** What every error about members that do not connect in time advises. */
export const UNREACHABLE_HINT =
  'check that every worker of the run is alive and its data plane address can be reached from the others';

/** The peer of a `Dialer`. */
export interface DialerOptions {
  readonly address: Address;
  /** Shared by the members of the generation. */
  readonly token: string;
  /** Who listens there, for messages: "rank 3". */
  readonly peer: string;
  /** How many connections will be made. */
  readonly connections: number;
}

/** Makes the connections to one peer; retries for as long as the peer cannot be reached or has not joined yet. */
export class Dialer {
  readonly #options: DialerOptions;
  readonly #connections = new Set<{ destroy(): void }>();
  readonly #cancelled = new AbortController();
  #failure: WeftError | undefined;
  #answers = 0;

  constructor(options: DialerOptions) {
    this.#options = options;
  }

  /** Whether all connections are made. */
  get hasAnswered(): boolean {
    return this.#answers === this.#options.connections;
  }

  /** What is missing, with the last failure, for messages. */
  get failureSummary(): string {
    const { address, peer } = this.#options;
    if (this.hasAnswered) return `${peer} has answered`;
    const why = this.#failure === undefined ? '' : ` (${this.#failure.message})`;
    return `${peer} did not answer at ${formatAddress(address)}${why}`;
  }

  /**
   * Makes one connection. Without `cancel` it may retry for ever.
   *
   * @throws WeftError the peer's refusal or another permanent failure, naming the peer; `cancelled` after `cancel`.
   */
  async connect(caller: Caller): Promise<Duplex> {
    const { duplex } = await this.#dial(caller, false);
    return duplex;
  }

  /**
   * Makes a connection on which bytes only arrive: through shared memory where the peer is on this machine.
   *
   * @throws WeftError as `connect`.
   */
  async connectReceiver(caller: Caller): Promise<Receiver> {
    const { duplex, pipe } = await this.#dial(caller, true);
    if (pipe === undefined) return duplex;
    const receiver = new SharedReceiver(duplex, pipe);
    this.#connections.add(receiver);
    return receiver;
  }

  /** Stops retrying, and closes what was connected. */
  cancel(): void {
    this.#cancelled.abort();
    for (const connection of this.#connections) connection.destroy();
  }

  async #dial(caller: Caller, offersMemory: boolean): Promise<Dialed> {
    const attempt = async () => {
      try {
        return await this.#attempt(caller, offersMemory);
      } catch (thrown) {
        this.#failure = WeftError.from(thrown);
        throw this.#failure;
      }
    };
    try {
      const dialed = await retry(attempt, {
        firstDelayMs: FIRST_RETRY_MS,
        maxDelayMs: LAST_RETRY_MS,
        signal: this.#cancelled.signal,
        // The peer is not listening yet, or has not joined this generation yet.
        isRetryable: (thrown) => WeftError.is(thrown, 'unavailable'),
      });
      this.#answers++;
      return dialed;
    } catch (thrown) {
      throw this.#named(WeftError.from(thrown));
    }
  }

  async #attempt(caller: Caller, offersMemory: boolean): Promise<Dialed> {
    const { address, token } = this.#options;
    const path = localPath(formatAddress(address));
    const local = path === undefined ? undefined : await SocketDuplex.connectLocally(path);
    const duplex = local ?? SocketDuplex.connect(address);
    this.#connections.add(duplex);
    if (this.#cancelled.signal.aborted) duplex.destroy();
    let pipe: SharedPipe | undefined;
    try {
      if (offersMemory && local !== undefined) pipe = SharedPipe.create();
      const usesMemory = await callPeer(duplex, caller, token, pipe?.name);
      pipe?.hide();
      if (usesMemory) return { duplex, pipe };
      pipe?.close();
      return { duplex, pipe: undefined };
    } catch (thrown) {
      pipe?.close();
      duplex.destroy();
      this.#connections.delete(duplex);
      throw thrown;
    }
  }

  #named(failure: WeftError): WeftError {
    const { address, peer } = this.#options;
    const where = `${peer} at ${formatAddress(address)}`;
    // Whatever broke then broke because `cancel` closed it.
    if (this.#cancelled.signal.aborted)
      return new WeftError('cancelled', `connecting to ${where} was cancelled`, { cause: failure });
    const hint = failure.hint === undefined ? {} : { hint: failure.hint };
    return new WeftError(failure.code, `${where}: ${failure.message}`, { cause: failure, ...hint });
  }
}

interface Dialed {
  readonly duplex: Duplex;
  /** The memory through which the peer's bytes arrive, where the peer uses it. */
  readonly pipe: SharedPipe | undefined;
}

/**
 * The name under which processes of the same machine reach a data plane beside TCP: a socket in Linux's abstract
 * namespace, which leaves no file and is gone with its process. Local sockets take half the processor time of TCP over
 * loopback. `undefined` on other systems.
 *
 * @param address "host:port", as peers know it
 */
export function localPath(address: string): string | undefined {
  return process.platform === 'linux' ? `\0weft-data-plane/${address}` : undefined;
}
