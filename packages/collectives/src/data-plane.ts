import { createServer, type Server, type ListenOptions as SocketOptions } from 'node:net';
import { type Address, formatAddress, listenError, refuse, WeftError, withTimeout } from '@weft/common';
import { ConnectionAcceptor } from './connect/accept.js';
import { localPath } from './connect/dial.js';
import { canReach } from './connect/probe.js';
import { checkRankId, type GenerationId, generationName, type RankId } from './connect/rank-id.js';
import { ExpertClients } from './experts/client.js';
import { acceptRanks, type CallExpertsOptions, dialExperts, type HostExpertsOptions } from './experts/connect.js';
import type { ExpertExchange, ExpertHost } from './experts/exchange.js';
import { ExpertServer } from './experts/server.js';
import { type LinkWorkersOptions, linkExperts, type WorkerLinks } from './experts/worker-links.js';
import { connectRing } from './ring/connect.js';
import { type ProcessGroup, RingGroup } from './ring/process-group.js';
import { rankIdOf, receiveState, type StateShare, type StateTransferOptions, sendState } from './state/transfer.js';
import { SocketDuplex } from './transport/socket-duplex.js';

/** Where a data plane listens. */
export interface ListenOptions {
  /** The interface to listen on. Default "127.0.0.1": only this machine can connect. */
  readonly host?: string;
  /** Default 0: any free port. */
  readonly port?: number;
  /** The host that peers connect to. Default `host`; set it where that is "0.0.0.0". */
  readonly advertisedHost?: string;
}

/** Options of `DataPlane.joinRing`. */
export interface JoinRingOptions extends GenerationId {
  readonly rank: number;
  /** The data plane address of every rank, by rank; their number is the worldSize. */
  readonly addresses: readonly string[];
  /** Shared by the ranks of this generation only. */
  readonly token: string;
  /** How long to wait until all ranks have joined. */
  readonly timeoutMs: number;
  /** Aborts the joining, and later makes this rank leave the ring. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Listens for the peers of this process, over TCP and, for processes of the same machine, over a local socket. Through it
 * the process joins rings and exchanges with experts, one after the other or several at a time.
 */
export class DataPlane {
  /** The address that peers are given: "host:port". */
  readonly address: string;
  readonly #servers: readonly Server[];
  readonly #acceptor: ConnectionAcceptor;
  /** Rings and exchanges that are not closed. */
  readonly #open = new Set<{ close(): Promise<void> }>();
  #isClosed = false;

  /**
   * Starts to listen.
   *
   * @throws WeftError `port_in_use` when another process has the port; else as `listenError` of @weft/common.
   */
  static async listen({ host = '127.0.0.1', port = 0, advertisedHost = host }: ListenOptions = {}): Promise<DataPlane> {
    const acceptor = new ConnectionAcceptor();
    const serve = (isLocal: boolean) =>
      createServer((socket) => void acceptor.handle(SocketDuplex.accepted(socket), isLocal));
    const server = serve(false);
    await listening(server, { host, port }, { host, port });
    const bound = server.address();
    const boundPort = typeof bound === 'object' && bound !== null ? bound.port : port;
    const advertised = { host: advertisedHost, port: boundPort };
    const address = formatAddress(advertised);
    const path = localPath(address);
    const servers = [server];
    if (path !== undefined) {
      const local = serve(true);
      try {
        await listening(local, { path }, advertised);
      } catch (thrown) {
        server.close();
        throw thrown;
      }
      servers.push(local);
    }
    return new DataPlane(servers, acceptor, address);
  }

  private constructor(servers: readonly Server[], acceptor: ConnectionAcceptor, address: string) {
    this.#servers = servers;
    this.#acceptor = acceptor;
    this.address = address;
  }

  /**
   * Joins the ring of one generation; resolves when all ranks have.
   *
   * @throws WeftError `deadline_exceeded` naming the rank that did not come within `timeoutMs`; `cancelled` when `signal`
   *   aborts; `failed_precondition` for a wrong token or a generation that is over at the peer; `version_mismatch`
   *   for a peer with another protocol; `invalid_argument` for options out of range or ranks that disagree.
   */
  async joinRing(options: JoinRingOptions): Promise<ProcessGroup> {
    const { runId, generation, rank, addresses, token, timeoutMs, signal } = options;
    const rankId: RankId = { runId, generation, rank, worldSize: addresses.length };
    this.#checkJoining(rankId, token);
    const deadlineMs = performance.now() + timeoutMs;
    const acceptor = this.#acceptor;
    const links =
      addresses.length === 1 ? undefined : await connectRing({ rankId, token, addresses, acceptor, timeoutMs, signal });
    const group: RingGroup = new RingGroup(rankId, links, { signal, onClose: () => this.#open.delete(group) });
    this.#open.add(group);
    try {
      // After the first barrier every rank has all its connections.
      await withTimeout(group.barrier(), {
        timeoutMs: Math.max(0, deadlineMs - performance.now()),
        doing: `joining the ring of ${generationName(rankId)}`,
        onTimeout: () =>
          new WeftError('deadline_exceeded', `not all ranks of ${generationName(rankId)} have joined in time`),
      });
    } catch (thrown) {
      await group.close();
      throw thrown;
    }
    return group;
  }

  /**
   * As a rank, connects to every expert worker of one generation; resolves when all have answered.
   *
   * @throws WeftError `deadline_exceeded` naming the expert workers that did not answer within `timeoutMs`; otherwise as
   *   `joinRing`.
   */
  async callExperts(options: CallExpertsOptions): Promise<ExpertExchange> {
    const { runId, generation, rank, worldSize, token, shape, answerTimeoutMs, signal } = options;
    const rankId: RankId = { runId, generation, rank, worldSize };
    this.#checkJoining(rankId, token);
    const duplexes = await dialExperts(options);
    const onClose = () => this.#open.delete(exchange);
    const exchange = new ExpertClients({ rankId, shape, duplexes, answerTimeoutMs, signal, onClose });
    this.#open.add(exchange);
    return exchange;
  }

  /**
   * As an expert worker of one generation, accepts the connections of all ranks; resolves when all have called.
   *
   * @throws WeftError `deadline_exceeded` naming the ranks that did not call within `timeoutMs`; `cancelled` when `signal`
   *   aborts; `invalid_argument` for options out of range.
   */
  async hostExperts(options: HostExpertsOptions): Promise<ExpertHost> {
    const { runId, generation, expertWorker, worldSize, token, shape, signal } = options;
    this.#checkJoining({ runId, generation, rank: 0, worldSize }, token);
    const duplexes = await acceptRanks(this.#acceptor, options);
    const onClose = () => this.#open.delete(host);
    const host = new ExpertServer({ runId, generation, expertWorker, shape, duplexes, signal, onClose });
    this.#open.add(host);
    return host;
  }

  /**
   * As an expert worker of one generation, connects to the others to which it sends, or from which it gets, experts and the
   * gradients of copies.
   *
   * @throws WeftError `deadline_exceeded` naming the expert workers that are missing; otherwise as `hostExperts`.
   */
  async linkExperts(options: LinkWorkersOptions): Promise<WorkerLinks> {
    const { expertWorker, addresses, token } = options;
    this.#checkJoining({ ...options, rank: expertWorker, worldSize: addresses.length }, token);
    const links = await linkExperts(this.#acceptor, options);
    const open = { close: async () => links.close() };
    this.#open.add(open);
    return {
      to: (receiver) => links.to(receiver),
      from: (sender) => links.from(sender),
      close: () => {
        this.#open.delete(open);
        links.close();
      },
    };
  }

  /**
   * As a rank that holds the state, sends its share to the newcomers of one generation; resolves when they have it.
   *
   * @param chunks the bytes of the share, read once; a chunk is valid until the next is asked for
   * @throws WeftError `unavailable` when a newcomer is gone, `deadline_exceeded` when one does not call in time; `cancelled`
   *   when the signal aborts.
   */
  async sendState(options: StateTransferOptions, chunks: AsyncIterable<Uint8Array>): Promise<void> {
    this.#checkJoining(rankIdOf(options), options.token);
    await sendState(this.#acceptor, options, chunks);
  }

  /**
   * As a newcomer of one generation, connects to every rank that holds the state; returns their shares in the order of ranks.
   *
   * @throws WeftError `deadline_exceeded` naming the ranks that do not answer in time; otherwise as `sendState`.
   */
  async receiveState(options: StateTransferOptions): Promise<readonly StateShare[]> {
    this.#checkJoining(rankIdOf(options), options.token);
    return receiveState(options);
  }

  /** Those of the addresses at which no data plane can be reached from here, within a second or so. */
  async findUnreachable(addresses: readonly string[]): Promise<readonly string[]> {
    const reached = await Promise.all(addresses.map(canReach));
    return addresses.filter((_, index) => reached[index] === false);
  }

  /** Closes all rings and exchanges, stops listening and disconnects callers that are not admitted. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const stopped = this.#servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve())));
    this.#acceptor.close();
    await Promise.all([...this.#open].map((each) => each.close()));
    await Promise.all(stopped);
  }

  #checkJoining(rankId: RankId, token: string): void {
    checkRankId(rankId);
    if (token.length === 0) refuse('invalid_argument', `the token of ${generationName(rankId)} is empty`);
    if (this.#isClosed) refuse('failed_precondition', `the data plane at ${this.address} is closed`);
  }
}

/** @param address where the server listens, for errors */
function listening(server: Server, options: SocketOptions, address: Address): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause) => reject(listenError(cause, 'the data plane', address, '--data-port')));
    server.listen(options, () => {
      // A connection that breaks while it is being accepted concerns its caller only.
      server.on('error', () => {});
      resolve();
    });
  });
}
