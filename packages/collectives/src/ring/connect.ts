import { type Address, parseAddress, refuse, WeftError, withTimeout } from '@weft/common';
import { ringNeighbours } from '@weft/topology';
import type { Acceptor, ConnectionAcceptor } from '../connect/accept.js';
import { Dialer, UNREACHABLE_HINT } from '../connect/dial.js';
import { generationName, type RankId } from '../connect/rank-id.js';
import type { RingLinks } from './runner.js';

/** The indices of the next rank's two connections. */
const [DATA, CONTROL] = [0, 1];

interface ConnectRingOptions {
  readonly rankId: RankId;
  /** Shared by the ranks of this generation. */
  readonly token: string;
  /** The data plane address of every rank, by rank. */
  readonly addresses: readonly string[];
  /** Where the connections of the next rank arrive. */
  readonly acceptor: ConnectionAcceptor;
  /** How long the connections to both neighbours may take. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Makes the connections of one rank: dials the previous rank, which it receives from, and accepts the next one.
 *
 * @throws WeftError `deadline_exceeded` naming the rank that is missing; `cancelled` when the signal aborts;
 *   `already_exists` when this process is joining the same ring; the refusal of the previous rank.
 */
export async function connectRing(options: ConnectRingOptions): Promise<RingLinks> {
  const { rankId, token, addresses, acceptor, timeoutMs, signal } = options;
  const { previous, next } = ringNeighbours(rankId.rank, rankId.worldSize);
  const parsed: readonly Address[] = addresses.map(parseAddress);
  const dialer = new Dialer({ address: parsed[previous]!, token, peer: `rank ${previous}`, connections: 2 });
  const accepting = acceptRing(acceptor, rankId, token);
  const onTimeout = () => {
    const missing = accepting.missing.length > 0 ? `rank ${next} did not call; ` : '';
    const message = `the ring of ${generationName(rankId)} is not closed after ${timeoutMs} ms: ${missing}${dialer.failureSummary}`;
    return new WeftError('deadline_exceeded', message, { hint: UNREACHABLE_HINT });
  };
  const connecting = Promise.all([
    dialer.connectReceiver({ ...rankId, link: 'data', expertWorker: 0 }),
    dialer.connect({ ...rankId, link: 'control', expertWorker: 0 }),
    accepting.connections,
  ]);
  try {
    const doing = `joining the ring of ${generationName(rankId)}`;
    const [data, control, accepted] = await withTimeout(connecting, { timeoutMs, signal, onTimeout, doing });
    return {
      data: { previous: data, next: accepted[DATA]!.sender },
      control: { previous: control, next: accepted[CONTROL]!.duplex },
    };
  } catch (thrown) {
    dialer.cancel();
    if (accepting.missing.length === 0) for (const { sender } of await accepting.connections) sender.destroy();
    throw thrown;
  } finally {
    accepting.close();
  }
}

/** Accepts the data and the control connection of the next rank. */
function acceptRing(acceptor: ConnectionAcceptor, rankId: RankId, token: string): Acceptor {
  const { runId, generation, rank, worldSize } = rankId;
  const { next } = ringNeighbours(rank, worldSize);
  return acceptor.accept({
    runId,
    generation,
    token,
    purpose: 'ring',
    name: `the ring of ${generationName(rankId)}`,
    connections: 2,
    indexOf: (caller) => {
      const where = `in the ring of ${generationName(rankId)}`;
      if (caller.worldSize !== worldSize)
        refuse(
          'invalid_argument',
          `rank ${caller.rank} counts ${caller.worldSize} ranks, rank ${rank} counts ${worldSize} ${where}`,
        );
      if (caller.rank !== next)
        refuse('invalid_argument', `rank ${caller.rank} called rank ${rank}, which waits for rank ${next} ${where}`);
      return caller.link === 'data' ? DATA : CONTROL;
    },
  });
}
