import { parseAddress, refuse, WeftError, withTimeout } from '@weft/common';
import type { ConnectionAcceptor } from '../connect/accept.js';
import { Dialer, UNREACHABLE_HINT } from '../connect/dial.js';
import { type GenerationId, generationName, type RankId } from '../connect/rank-id.js';
import type { Duplex } from '../transport/duplex.js';
import type { ExchangeShape } from './exchange.js';
import { expertWorkerName } from './expert-shard.js';

/** What both ends of an exchange are given. */
interface ExchangeOptions extends GenerationId {
  readonly worldSize: number;
  /** Shared by the members of this generation only. */
  readonly token: string;
  readonly shape: ExchangeShape;
  /** How long to wait until all members are connected. */
  readonly timeoutMs: number;
  /** Aborts the connecting, and later the exchange. */
  readonly signal?: AbortSignal | undefined;
}

/** Options of `DataPlane.callExperts`. */
export interface CallExpertsOptions extends ExchangeOptions {
  /** This rank. */
  readonly rank: number;
  /** The data plane address of every expert worker, in order. */
  readonly addresses: readonly string[];
  /** How long an expert worker may take to answer a request before the exchange fails and names it. */
  readonly answerTimeoutMs: number;
}

/** Options of `DataPlane.hostExperts`. */
export interface HostExpertsOptions extends ExchangeOptions {
  /** The number of this expert worker. */
  readonly expertWorker: number;
}

/**
 * Makes a rank's connections to all expert workers, in their order.
 *
 * @throws WeftError `deadline_exceeded` naming the expert workers that are missing; `cancelled` when the signal aborts; the
 *   refusal of an expert worker.
 */
export async function dialExperts(options: CallExpertsOptions): Promise<readonly Duplex[]> {
  const { runId, generation, rank, worldSize, token, addresses, timeoutMs, signal } = options;
  const rankId: RankId = { runId, generation, rank, worldSize };
  const name = generationName(rankId);
  const dialers = addresses.map(parseAddress).map((address, expertWorker) => {
    return new Dialer({ address, token, peer: `expert worker ${expertWorker}`, connections: 1 });
  });
  const onTimeout = () => {
    const missing = dialers.filter(({ hasAnswered }) => !hasAnswered).map(({ failureSummary }) => failureSummary);
    const message = `the experts of ${name} are not there after ${timeoutMs} ms: ${missing.join('; ')}`;
    return new WeftError('deadline_exceeded', message, { hint: UNREACHABLE_HINT });
  };
  const connecting = Promise.all(
    dialers.map((dialer, expertWorker) => dialer.connect({ ...rankId, link: 'experts', expertWorker })),
  );
  try {
    return await withTimeout(connecting, { timeoutMs, signal, onTimeout, doing: `calling the experts of ${name}` });
  } catch (thrown) {
    for (const dialer of dialers) dialer.cancel();
    throw thrown;
  }
}

/**
 * Accepts one connection of every rank at an expert worker; returns them by rank.
 *
 * @throws WeftError `deadline_exceeded` naming the ranks that did not call; `cancelled` when the signal aborts;
 *   `already_exists` when this process is accepting the same ranks.
 */
export async function acceptRanks(
  acceptor: ConnectionAcceptor,
  options: HostExpertsOptions,
): Promise<readonly Duplex[]> {
  const { runId, generation, expertWorker, worldSize, token, timeoutMs, signal } = options;
  const name = expertWorkerName(options, expertWorker);
  const accepting = acceptor.accept({
    runId,
    generation,
    token,
    purpose: 'experts',
    name,
    connections: worldSize,
    indexOf: (caller) => {
      if (caller.expertWorker !== expertWorker)
        refuse(
          'invalid_argument',
          `rank ${caller.rank} called expert worker ${caller.expertWorker}, but this is ${name}`,
        );
      if (caller.worldSize !== worldSize || caller.rank >= worldSize)
        refuse(
          'invalid_argument',
          `rank ${caller.rank} of ${caller.worldSize} called ${name}, which waits for ${worldSize} ranks`,
        );
      return caller.rank;
    },
  });
  const ranks = `the ranks of ${generationName(options)}`;
  const onTimeout = () => {
    const missing = accepting.missing.join(', rank ');
    const message = `${ranks} have not all called after ${timeoutMs} ms: rank ${missing} did not`;
    return new WeftError('deadline_exceeded', message, { hint: UNREACHABLE_HINT });
  };
  try {
    const doing = `waiting for ${ranks}`;
    const accepted = await withTimeout(accepting.connections, { timeoutMs, signal, onTimeout, doing });
    return accepted.map(({ duplex }) => duplex);
  } finally {
    accepting.close();
  }
}
