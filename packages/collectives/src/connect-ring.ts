import { setTimeout as pause } from 'node:timers/promises';
import { WeftError } from '@weft/common';
import { ringNeighbours } from '@weft/topology';
import type { Address } from './address.js';
import { callPeer, type LinkKind } from './handshake.js';
import type { RingLinks, Wire } from './link.js';
import type { Gate } from './rendezvous.js';
import { type RingPlace, ringName } from './ring-place.js';
import { SocketWire } from './socket-wire.js';

const FIRST_RETRY_MS = 20;
const LAST_RETRY_MS = 500;

export interface ConnectRingOptions {
  readonly place: RingPlace;
  readonly token: string;
  /** Where the previous rank listens. */
  readonly previousAddress: Address;
  /** Where the next rank's connections come in. */
  readonly gate: Gate;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Makes the connections of one rank: calls the previous rank, which it receives from, until that answers, and waits
 * for the calls of the next one.
 *
 * @throws `deadline_exceeded` naming the rank that is missing, `cancelled`, or what the previous rank refuses with.
 */
export async function connectRing(options: ConnectRingOptions): Promise<RingLinks> {
  const { place, gate, timeoutMs, signal } = options;
  const { previous, next } = ringNeighbours(place.rank, place.worldSize);
  const call = new PreviousCall(options, previous);
  let nextCame = false;
  let stop: (error: WeftError) => void = () => {};
  const stopped = new Promise<never>((_, reject) => {
    stop = reject;
  });
  const abort = () => stop(new WeftError('cancelled', `joining the ring of ${ringName(place)} was cancelled`));
  const timer = setTimeout(() => {
    const missing = nextCame ? call.complaint : `rank ${next} did not call; ${call.complaint}`;
    stop(
      new WeftError(
        'deadline_exceeded',
        `the ring of ${ringName(place)} is not closed after ${timeoutMs} ms: ${missing}`,
        {
          cure: 'check that every worker of the run is alive and its data plane address can be reached from the others',
        },
      ),
    );
  }, timeoutMs);
  signal?.addEventListener('abort', abort, { once: true });
  if (signal?.aborted) abort();
  try {
    const coming = gate.wires.then((wires) => {
      nextCame = true;
      return wires;
    });
    const connected = Promise.all([call.connect('data'), call.connect('control'), coming]);
    const [data, control, wires] = await Promise.race([connected, stopped]);
    return { data: { previous: data, next: wires.data }, control: { previous: control, next: wires.control } };
  } catch (thrown) {
    call.hangUp();
    if (nextCame) for (const wire of Object.values(await gate.wires)) wire.destroy();
    throw thrown;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', abort);
    gate.close();
  }
}

/** The calls to the previous rank, repeated for as long as it cannot be reached. */
class PreviousCall {
  readonly #options: ConnectRingOptions;
  readonly #rank: number;
  readonly #wires = new Set<Wire>();
  readonly #hungUp = new AbortController();
  #failure: WeftError | undefined;
  #answers = 0;

  constructor(options: ConnectRingOptions, rank: number) {
    this.#options = options;
    this.#rank = rank;
  }

  /** What is still missing, for a message. */
  get complaint(): string {
    const { text } = this.#options.previousAddress;
    if (this.#answers === 2) return `rank ${this.#rank} has answered`;
    const why = this.#failure === undefined ? '' : ` (${this.#failure.message})`;
    return `rank ${this.#rank} did not answer at ${text}${why}`;
  }

  async connect(link: LinkKind): Promise<Wire> {
    const { place, token, previousAddress } = this.#options;
    for (let pauseMs = FIRST_RETRY_MS; ; pauseMs = Math.min(LAST_RETRY_MS, pauseMs * 2)) {
      const wire = SocketWire.connect(previousAddress);
      this.#wires.add(wire);
      try {
        await callPeer(wire, { ...place, link }, token);
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

  hangUp(): void {
    this.#hungUp.abort();
    for (const wire of this.#wires) wire.destroy();
  }

  #named(failure: WeftError): WeftError {
    const message = `rank ${this.#rank} at ${this.#options.previousAddress.text}: ${failure.message}`;
    return new WeftError(failure.code, message, { cause: failure, ...(failure.cure && { cure: failure.cure }) });
  }
}
