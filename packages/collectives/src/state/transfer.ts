import { createHash, timingSafeEqual } from 'node:crypto';
import { parseAddress, refuse, WeftError, withTimeout } from '@weft/common';
import type { ConnectionAcceptor } from '../connect/accept.js';
import { Dialer, UNREACHABLE_HINT } from '../connect/dial.js';
import { type GenerationId, generationName, type RankId, rankGone } from '../connect/rank-id.js';
import type { Duplex, Sender } from '../transport/duplex.js';
import { readInto, writeFrom } from '../transport/whole.js';

/** Who sends the state of a run to whom, at the beginning of one generation. */
export interface StateTransferOptions extends GenerationId {
  /** This rank. */
  readonly rank: number;
  /** The data plane address of every rank, by rank. */
  readonly addresses: readonly string[];
  /** The ranks that get the state. All others hold it, and send each of them a share. */
  readonly newcomers: readonly number[];
  /** Shared by the ranks of this generation only. */
  readonly token: string;
  /** How long to wait until the connections are there. */
  readonly timeoutMs: number;
  /** Aborts the transfer. */
  readonly signal?: AbortSignal | undefined;
}

/** One holder's share of the state on its way to a newcomer. */
export interface StateShare {
  /** Fills `target` with the next bytes of the share. @throws WeftError `unavailable` when the holder is gone. */
  read(target: Uint8Array): Promise<void>;
  /**
   * To be called after the last byte: compares the share with the holder's digest, and closes the connection.
   *
   * @throws WeftError `corrupt_data` when they differ.
   */
  end(): Promise<void>;
  /** Closes the connection, at any time. */
  close(): void;
}

/** After the bytes of a share comes their SHA-256. */
const DIGEST_BYTES = 32;

/** For messages and checks. */
export function rankIdOf({ runId, generation, rank, addresses }: StateTransferOptions): RankId {
  return { runId, generation, rank, worldSize: addresses.length };
}

/** See `DataPlane.sendState`. */
export async function sendState(
  acceptor: ConnectionAcceptor,
  options: StateTransferOptions,
  chunks: AsyncIterable<Uint8Array>,
): Promise<void> {
  const senders = await acceptNewcomers(acceptor, options);
  const { signal, newcomers } = options;
  const rankId = rankIdOf(options);
  const abort = () => {
    for (const sender of senders) sender.destroy();
  };
  signal?.addEventListener('abort', abort, { once: true });
  if (signal?.aborted) abort();
  const gone = senders.map(async ({ closed }, index): Promise<never> => {
    const cause = await closed;
    if (signal?.aborted)
      throw new WeftError('cancelled', `sending the state of ${generationName(rankId)} was cancelled`);
    throw rankGone(
      rankId,
      newcomers[index]!,
      `it closed the connection of the state${cause ? ` (${cause.message})` : ''}`,
    );
  });
  for (const each of gone) each.catch(() => {});
  const digest = createHash('sha256');
  // Whoever is gone ends the sending, also while another one is slow.
  const write = (bytes: Uint8Array) =>
    Promise.race([Promise.all(senders.map((sender) => writeFrom(sender, bytes))), ...gone]);
  try {
    for await (const bytes of chunks) {
      digest.update(bytes);
      await write(bytes);
    }
    await write(digest.digest());
    for (const sender of senders) sender.end();
  } catch (thrown) {
    abort();
    throw thrown;
  } finally {
    signal?.removeEventListener('abort', abort);
  }
}

async function acceptNewcomers(
  acceptor: ConnectionAcceptor,
  options: StateTransferOptions,
): Promise<readonly Sender[]> {
  const { runId, generation, rank, newcomers, token, timeoutMs, signal } = options;
  const name = `the state of ${generationName(options)} at rank ${rank}`;
  const accepting = acceptor.accept({
    ...{ runId, generation, token, purpose: 'state', name, connections: newcomers.length },
    indexOf: (caller) => {
      const index = newcomers.indexOf(caller.rank);
      if (index < 0) refuse('invalid_argument', `rank ${caller.rank} asks for ${name}, but is no newcomer`);
      return index;
    },
  });
  const onTimeout = () => {
    const missing = accepting.missing.map((index) => newcomers[index]).join(', rank ');
    const message = `rank ${missing} did not ask for ${name} within ${timeoutMs} ms`;
    return new WeftError('deadline_exceeded', message, { hint: UNREACHABLE_HINT });
  };
  try {
    const doing = `waiting for the newcomers of ${generationName(options)}`;
    const accepted = await withTimeout(accepting.connections, { timeoutMs, signal, onTimeout, doing });
    return accepted.map(({ sender }) => sender);
  } finally {
    accepting.close();
  }
}

/** See `DataPlane.receiveState`. */
export async function receiveState(options: StateTransferOptions): Promise<readonly StateShare[]> {
  const { addresses, newcomers, token, timeoutMs, signal } = options;
  const rankId = rankIdOf(options);
  const holders = [...addresses.keys()].filter((rank) => !newcomers.includes(rank));
  const dialers = holders.map((rank) => {
    const address = parseAddress(addresses[rank]!);
    return new Dialer({ address, token, peer: `rank ${rank}`, connections: 1 });
  });
  const onTimeout = () => {
    const missing = dialers.filter(({ hasAnswered }) => !hasAnswered).map(({ failureSummary }) => failureSummary);
    const message = `the state of ${generationName(rankId)} does not come after ${timeoutMs} ms: ${missing.join('; ')}`;
    return new WeftError('deadline_exceeded', message, { hint: UNREACHABLE_HINT });
  };
  const connecting = Promise.all(
    dialers.map((dialer) => dialer.connect({ ...rankId, link: 'state', expertWorker: 0 })),
  );
  try {
    const doing = `asking for the state of ${generationName(rankId)}`;
    const duplexes = await withTimeout(connecting, { timeoutMs, signal, onTimeout, doing });
    return duplexes.map((duplex, index) => new ReceivedShare(duplex, rankId, holders[index]!, signal));
  } catch (thrown) {
    for (const dialer of dialers) dialer.cancel();
    throw thrown;
  }
}

class ReceivedShare implements StateShare {
  readonly #duplex: Duplex;
  readonly #rankId: RankId;
  readonly #holder: number;
  readonly #digest = createHash('sha256');
  readonly #gone: Promise<never>;
  readonly #stopListening: () => void;

  constructor(duplex: Duplex, rankId: RankId, holder: number, signal: AbortSignal | undefined) {
    this.#duplex = duplex;
    this.#rankId = rankId;
    this.#holder = holder;
    const abort = () => duplex.destroy();
    signal?.addEventListener('abort', abort, { once: true });
    if (signal?.aborted) abort();
    this.#stopListening = () => signal?.removeEventListener('abort', abort);
    this.#gone = duplex.closed.then((cause) => {
      if (signal?.aborted)
        throw new WeftError('cancelled', `receiving the state of ${generationName(rankId)} was cancelled`);
      throw rankGone(rankId, holder, `its share of the state is not complete${cause ? ` (${cause.message})` : ''}`);
    });
    this.#gone.catch(() => {});
  }

  async read(target: Uint8Array): Promise<void> {
    await this.#fill(target);
    this.#digest.update(target);
  }

  async end(): Promise<void> {
    const sent = new Uint8Array(DIGEST_BYTES);
    await this.#fill(sent);
    this.close();
    if (timingSafeEqual(sent, this.#digest.digest())) return;
    refuse(
      'corrupt_data',
      `the share of rank ${this.#holder} of the state of ${generationName(this.#rankId)} arrived damaged`,
    );
  }

  close(): void {
    this.#stopListening();
    this.#duplex.destroy();
  }

  /** Bytes that came before the connection closed are still read. */
  async #fill(target: Uint8Array): Promise<void> {
    await readInto(this.#duplex, target, this.#gone);
  }
}
