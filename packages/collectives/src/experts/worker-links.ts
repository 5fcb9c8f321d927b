import { parseAddress, refuse, WeftError, withTimeout } from '@weft/common';
import type { ConnectionAcceptor } from '../connect/accept.js';
import { Dialer, UNREACHABLE_HINT } from '../connect/dial.js';
import { type GenerationId, generationName } from '../connect/rank-id.js';
import type { Duplex } from '../transport/duplex.js';
import { readInto, writeFrom } from '../transport/whole.js';
import { expertWorkerGone, expertWorkerName } from './expert-shard.js';

/** Which expert workers send something to which, in one generation. */
export interface LinkWorkersOptions extends GenerationId {
  /** This expert worker. */
  readonly expertWorker: number;
  /** The data plane address of every expert worker, by number. */
  readonly addresses: readonly string[];
  /** The numbers of those that get something from this one, and of those from which it gets something. */
  readonly receivers: readonly number[];
  readonly senders: readonly number[];
  /** Shared by the members of this generation only. */
  readonly token: string;
  /** How long to wait until the connections are there. */
  readonly timeoutMs: number;
  /** Aborts the connecting, and later closes the links. */
  readonly signal?: AbortSignal | undefined;
}

/** A connection to another expert worker. */
export interface WorkerLink {
  /** Resolves when the memory may be reused. @throws WeftError `unavailable` when the other one is gone */
  write(bytes: Uint8Array): Promise<void>;
  /** Fills the whole target. @throws WeftError `unavailable` when the other one is gone */
  read(target: Uint8Array): Promise<void>;
}

/** An expert worker's connections to others, one for each direction in which something is sent. */
export interface WorkerLinks {
  /** To a receiver. @throws WeftError `internal` for one that is none */
  to(receiver: number): WorkerLink;
  /** From a sender. @throws WeftError `internal` for one that is none */
  from(sender: number): WorkerLink;
  close(): void;
}

/** See `DataPlane.linkExperts`. The receiving side dials. */
export async function linkExperts(acceptor: ConnectionAcceptor, options: LinkWorkersOptions): Promise<WorkerLinks> {
  const { runId, generation, expertWorker, addresses, receivers, senders, token, timeoutMs, signal } = options;
  const name = generationName(options);
  const dialers = senders.map((sender) => {
    const address = parseAddress(addresses[sender]!);
    return new Dialer({ address, token, peer: `expert worker ${sender}`, connections: 1 });
  });
  const caller = { runId, generation, rank: expertWorker, worldSize: addresses.length, link: 'copies' } as const;
  const accepting =
    receivers.length === 0
      ? undefined
      : acceptor.accept({
          ...{
            runId,
            generation,
            token,
            purpose: 'copies',
            name: `copies at ${expertWorkerName(options, expertWorker)}`,
          },
          connections: receivers.length,
          indexOf: ({ rank }) => {
            const index = receivers.indexOf(rank);
            if (index < 0) refuse('invalid_argument', `expert worker ${rank} is to get nothing from ${expertWorker}`);
            return index;
          },
        });
  const onTimeout = () => {
    const silent = (accepting?.missing ?? []).map((index) => `expert worker ${receivers[index]} did not call`);
    const unreached = dialers.filter(({ hasAnswered }) => !hasAnswered).map(({ failureSummary }) => failureSummary);
    const message = `the expert workers of ${name} are not connected after ${timeoutMs} ms: ${[...silent, ...unreached].join('; ')}`;
    return new WeftError('deadline_exceeded', message, { hint: UNREACHABLE_HINT });
  };
  const connecting = Promise.all([
    accepting?.connections ?? [],
    Promise.all(dialers.map((dialer, index) => dialer.connect({ ...caller, expertWorker: senders[index]! }))),
  ]);
  try {
    const doing = `connecting the expert workers of ${name}`;
    const [accepted, dialed] = await withTimeout(connecting, { timeoutMs, signal, onTimeout, doing });
    const linksOf = (numbers: readonly number[], duplexes: readonly Duplex[]) =>
      new Map(numbers.map((number, index) => [number, new Link(duplexes[index]!, options, number)]));
    const duplexes = accepted.map(({ duplex }) => duplex);
    return new Links(linksOf(receivers, duplexes), linksOf(senders, dialed), signal);
  } catch (thrown) {
    for (const dialer of dialers) dialer.cancel();
    throw thrown;
  } finally {
    accepting?.close();
  }
}

class Links implements WorkerLinks {
  readonly #receivers: ReadonlyMap<number, Link>;
  readonly #senders: ReadonlyMap<number, Link>;
  readonly #signal: AbortSignal | undefined;
  readonly #abort = () => this.close();

  /** @param receivers by number @param senders by number */
  constructor(
    receivers: ReadonlyMap<number, Link>,
    senders: ReadonlyMap<number, Link>,
    signal: AbortSignal | undefined,
  ) {
    this.#receivers = receivers;
    this.#senders = senders;
    this.#signal = signal;
    signal?.addEventListener('abort', this.#abort, { once: true });
    if (signal?.aborted) this.close();
  }

  to(receiver: number): WorkerLink {
    return this.#receivers.get(receiver) ?? refuse('internal', `expert worker ${receiver} gets nothing from here`);
  }

  from(sender: number): WorkerLink {
    return this.#senders.get(sender) ?? refuse('internal', `nothing comes from expert worker ${sender}`);
  }

  close(): void {
    this.#signal?.removeEventListener('abort', this.#abort);
    for (const link of [...this.#receivers.values(), ...this.#senders.values()]) link.close();
  }
}

class Link implements WorkerLink {
  readonly #duplex: Duplex;
  readonly #gone: Promise<never>;
  #isClosed = false;

  constructor(duplex: Duplex, generation: GenerationId, other: number) {
    this.#duplex = duplex;
    this.#gone = duplex.closed.then((cause) => {
      if (this.#isClosed)
        throw new WeftError(
          'cancelled',
          `the links of ${generationName(generation)} between expert workers are closed`,
        );
      throw expertWorkerGone(generation, other, `its connection closed${cause ? ` (${cause.message})` : ''}`);
    });
    this.#gone.catch(() => {});
  }

  async write(bytes: Uint8Array): Promise<void> {
    if (bytes.length > 0) await Promise.race([writeFrom(this.#duplex, bytes), this.#gone]);
  }

  read(target: Uint8Array): Promise<void> {
    return readInto(this.#duplex, target, this.#gone);
  }

  close(): void {
    this.#isClosed = true;
    this.#duplex.destroy();
  }
}
