import { createServer, type Server, type ListenOptions as SocketOptions } from 'node:net';
import { WeftError } from '@weft/common';
import { ringNeighbours } from '@weft/topology';
import { formatAddress, parseAddress } from './address.js';
import { connectRing } from './connect-ring.js';
import { awaitRanks, callExperts } from './exchange/connect-experts.js';
import type { ExchangeShape, ExpertExchange, ExpertHost } from './exchange/exchange.js';
import { ExpertCallers } from './exchange/expert-callers.js';
import { RankConnections } from './exchange/rank-connections.js';
import { RankGate } from './exchange/rank-gate.js';
import { localPathOf } from './local-address.js';
import type { ProcessGroup } from './process-group.js';
import { Rendezvous } from './rendezvous.js';
import { RingGroup } from './ring-group.js';
import { checkPlace, type RingPlace, ringName } from './ring-place.js';
import { SocketWire } from './socket-wire.js';

export interface ListenOptions {
  /** The interface to listen on. Default "127.0.0.1": only this machine can connect. */
  readonly host?: string;
  /** 0, the default, takes a free port. */
  readonly port?: number;
  /** The host that peers shall connect to, where it differs from `host` (which may be "0.0.0.0"). */
  readonly advertisedHost?: string;
}

export interface JoinRingOptions {
  readonly runId: string;
  readonly generation: number;
  readonly rank: number;
  /** The data plane address of every rank, by rank; their number is the worldSize. */
  readonly addresses: readonly string[];
  /** Shared by the ranks of this generation and nobody else. */
  readonly token: string;
  /** How long to wait for all ranks to join. */
  readonly timeoutMs: number;
  /** Aborts the joining, and later makes this rank leave the ring. */
  readonly signal?: AbortSignal;
}

/** What both ends of an exchange say about it. */
interface ExchangeOptions {
  readonly runId: string;
  readonly generation: number;
  readonly worldSize: number;
  /** Shared by the members of this generation and nobody else. */
  readonly token: string;
  readonly shape: ExchangeShape;
  /** How long to wait for all members to be connected. */
  readonly timeoutMs: number;
  /** Aborts the connecting, and later the exchange. */
  readonly signal?: AbortSignal;
}

export interface CallExpertsOptions extends ExchangeOptions {
  readonly rank: number;
  /** The data plane address of every expert worker, in order. */
  readonly addresses: readonly string[];
  /** How long an expert worker may take to answer, before it is named as the slow one. */
  readonly answerTimeoutMs: number;
}

export interface HostExpertsOptions extends ExchangeOptions {
  /** The number of this expert worker. */
  readonly expertWorker: number;
}

/**
 * Where a process is called, over TCP and from its own machine over a local socket: through it the process joins rings and
 * exchanges with experts, one after the other or several at a time.
 */
export class DataPlane {
  /** What peers put into their list of addresses: "host:port". */
  readonly address: string;
  readonly #servers: readonly Server[];
  readonly #rendezvous: Rendezvous;
  /** Rings and exchanges that are open. */
  readonly #open = new Set<{ close(): Promise<void> }>();
  #closed = false;

  /**
   * Starts to listen.
   *
   * @throws `port_in_use` when another process holds the port, `invalid_argument` when the host cannot be listened on.
   */
  static async listen({ host = '127.0.0.1', port = 0, advertisedHost = host }: ListenOptions = {}): Promise<DataPlane> {
    const rendezvous = new Rendezvous();
    const serve = (isLocal: boolean) =>
      createServer((socket) => void rendezvous.receive(SocketWire.accepted(socket), isLocal));
    const server = serve(false);
    await listening(server, { host, port }, (cause) => listenError(host, port, cause));
    const bound = server.address();
    const boundPort = typeof bound === 'object' && bound !== null ? bound.port : port;
    const address = formatAddress(advertisedHost, boundPort);
    const path = localPathOf(address);
    const servers = [server];
    if (path !== undefined) {
      const local = serve(true);
      try {
        await listening(local, { path }, (cause) => listenError(advertisedHost, boundPort, cause));
      } catch (thrown) {
        server.close();
        throw thrown;
      }
      servers.push(local);
    }
    return new DataPlane(servers, rendezvous, address);
  }

  private constructor(servers: readonly Server[], rendezvous: Rendezvous, address: string) {
    this.#servers = servers;
    this.#rendezvous = rendezvous;
    this.address = address;
  }

  /**
   * Joins the ring of one generation; resolves when all ranks have.
   *
   * @throws `deadline_exceeded` naming the rank that did not come within `timeoutMs`; `cancelled` when `signal`
   *   aborts; `failed_precondition` for a wrong token or a generation that is over at the peer; `version_mismatch`
   *   for a peer with another protocol; `invalid_argument` for options out of range or ranks that disagree.
   */
  async joinRing({
    runId,
    generation,
    rank,
    addresses,
    token,
    timeoutMs,
    signal,
  }: JoinRingOptions): Promise<ProcessGroup> {
    const place: RingPlace = { runId, generation, rank, worldSize: addresses.length };
    this.#checkJoining(place, token);
    const deadlineMs = performance.now() + timeoutMs;
    const links = place.worldSize === 1 ? undefined : await this.#connect(place, addresses, token, timeoutMs, signal);
    const group: RingGroup = new RingGroup(place, links, { signal, onClose: () => this.#open.delete(group) });
    this.#open.add(group);
    try {
      await meet(group, place, Math.max(0, deadlineMs - performance.now()));
    } catch (thrown) {
      await group.close();
      throw thrown;
    }
    return group;
  }

  /**
   * As a rank, calls every expert worker of one generation; resolves when all have answered.
   *
   * @throws `deadline_exceeded` naming the expert workers that did not answer within `timeoutMs`; otherwise as `joinRing`.
   */
  async callExperts(options: CallExpertsOptions): Promise<ExpertExchange> {
    const { runId, generation, rank, worldSize, token, addresses, shape, timeoutMs, answerTimeoutMs, signal } = options;
    const place = { runId, generation, rank, worldSize };
    this.#checkJoining(place, token);
    const wires = await callExperts({ place, token, addresses, timeoutMs, signal });
    const onClose = () => this.#open.delete(exchange);
    const exchange = new ExpertCallers({ place, shape, wires, answerTimeoutMs, signal, onClose });
    this.#open.add(exchange);
    return exchange;
  }

  /**
   * As an expert worker of one generation, waits for every rank's call.
   *
   * @throws `deadline_exceeded` naming the ranks that did not call within `timeoutMs`; `cancelled`.
   */
  async hostExperts(options: HostExpertsOptions): Promise<ExpertHost> {
    const { runId, generation, expertWorker, worldSize, token, shape, timeoutMs, signal } = options;
    this.#checkJoining({ runId, generation, rank: 0, worldSize }, token);
    const gate = this.#rendezvous.open('experts', options, (onClose) => new RankGate(options, onClose));
    const wires = await awaitRanks(gate, options, { timeoutMs, signal });
    const onClose = () => this.#open.delete(host);
    const host = new RankConnections({ runId, generation, expertWorker, shape, wires, signal, onClose });
    this.#open.add(host);
    return host;
  }

  /** Closes all rings and exchanges, stops listening and hangs up on callers. */
  async close(): Promise<void> {
    this.#closed = true;
    const stopped = this.#servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve())));
    this.#rendezvous.close();
    await Promise.all([...this.#open].map((each) => each.close()));
    await Promise.all(stopped);
  }

  #checkJoining(place: RingPlace, token: string): void {
    checkPlace(place);
    if (token.length === 0) throw new WeftError('invalid_argument', `the token of ${ringName(place)} is empty`);
    if (this.#closed) throw new WeftError('failed_precondition', `the data plane at ${this.address} is closed`);
  }

  #connect(place: RingPlace, addresses: readonly string[], token: string, timeoutMs: number, signal?: AbortSignal) {
    const { previous } = ringNeighbours(place.rank, place.worldSize);
    const parsed = addresses.map(parseAddress);
    const gate = this.#rendezvous.expect(place, token);
    return connectRing({ place, token, previousAddress: parsed[previous]!, gate, timeoutMs, signal });
  }
}

/** The first barrier: after it, every rank has all its connections. */
async function meet(group: ProcessGroup, place: RingPlace, patienceMs: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    const message = `not all ranks of ${ringName(place)} have joined in time`;
    timer = setTimeout(() => reject(new WeftError('deadline_exceeded', message)), patienceMs);
  });
  try {
    await Promise.race([group.barrier(), late]);
  } finally {
    clearTimeout(timer);
  }
}

/** @param failure says what it means that the server cannot listen */
function listening(
  server: Server,
  options: SocketOptions,
  failure: (cause: NodeJS.ErrnoException) => WeftError,
): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => reject(failure(cause)));
    server.listen(options, () => {
      // A connection that breaks while it is being accepted is the caller's concern.
      server.on('error', () => {});
      resolve();
    });
  });
}

function listenError(host: string, port: number, cause: NodeJS.ErrnoException): WeftError {
  if (cause.code === 'EADDRINUSE')
    return new WeftError('port_in_use', `port ${port} of ${host} is taken by another process`, {
      cause,
      cure: 'choose another data plane port, or 0 for any free one',
    });
  return new WeftError('invalid_argument', `cannot listen on ${formatAddress(host, port)}: ${cause.message}`, {
    cause,
  });
}
