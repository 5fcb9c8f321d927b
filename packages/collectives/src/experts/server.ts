import { type Deferred, deferred, refuse, SerialQueue, settlesWithin, WeftError } from '@weft/common';
import type { DeviceSpan, ResidentTensor } from '@weft/tensor';
import { type GenerationId, generationName, rankGone } from '../connect/rank-id.js';
import type { Duplex } from '../transport/duplex.js';
import { type MessageContext, type MessageHeader, MessageWriter } from './codec.js';
import {
  DeviceLanes,
  type DeviceOffer,
  decodeOffer,
  decodeReply,
  encodeReply,
  type LaneReply,
  memberOf,
  offerOf,
  transfersOf,
  unusedOf,
  WORKER_MEMBER,
  whyNoLanes,
} from './device-lanes.js';
import type {
  DeviceRowsRequest,
  DevicesOutcome,
  ExchangeDevices,
  ExchangeShape,
  ExchangeStats,
  ExpertHost,
  ExpertRequest,
} from './exchange.js';
import { blockLength, type ExpertShard, expertShard } from './expert-shard.js';
import { MessageReader } from './message-reader.js';

const CLOSE_GRACE_MS = 1_000;
/** A rank may have this many unanswered requests; further ones stay in its socket. */
const MAX_UNANSWERED = 16;

interface ExpertServerOptions extends GenerationId {
  /** The number of this expert worker. */
  readonly expertWorker: number;
  readonly shape: ExchangeShape;
  /** The connections to the ranks, by rank. */
  readonly duplexes: readonly Duplex[];
  /** When it aborts, the exchange fails with `cancelled`. */
  readonly signal?: AbortSignal | undefined;
  /** Called when the server is closed. */
  readonly onClose?: () => void;
}

/** An expert worker's connections to all ranks of a generation. */
export class ExpertServer implements ExpertHost {
  readonly #options: ExpertServerOptions;
  readonly #connections: readonly ExpertServerConnection[];
  readonly #stopListening: () => void;
  #requests: ExpertRequest[] = [];
  /** Wakes `requests` when something has changed. */
  #changed = deferred();
  #isClosed = false;
  #failure: WeftError | undefined;
  #devices: OpenDevices | undefined;

  constructor(options: ExpertServerOptions) {
    const { expertWorker, shape, duplexes, signal } = options;
    this.#options = options;
    const pool = new BlockPool(blockLength(expertShard(shape, expertWorker)));
    const onRequest = (request: ExpertRequest) => {
      this.#requests.push(request);
      this.#changed.resolve();
    };
    const onFailure = (error: WeftError) => this.#fail(error);
    this.#connections = duplexes.map(
      (duplex, rank) =>
        new ExpertServerConnection({
          ...options,
          rank,
          duplex,
          pool,
          onRequest,
          onFailure,
          devices: () => this.#devices,
        }),
    );
    const abort = () =>
      this.#fail(new WeftError('cancelled', `the exchange of ${generationName(options)} was cancelled`));
    signal?.addEventListener('abort', abort, { once: true });
    this.#stopListening = () => signal?.removeEventListener('abort', abort);
    if (signal?.aborted) abort();
    // Bytes that were read with the handshake arrive now, and a failure among them reaches all connections.
    for (const connection of this.#connections) connection.start();
  }

  get stats(): ExchangeStats {
    const total = (of: keyof ExchangeStats) => this.#connections.reduce((sum, connection) => sum + connection[of], 0);
    const { bytesSent = 0, bytesReceived = 0 } = this.#devices?.lanes.stats ?? {};
    return { bytesSent: total('bytesSent') + bytesSent, bytesReceived: total('bytesReceived') + bytesReceived };
  }

  async openDevices(devices: ExchangeDevices, allocate: () => Promise<ResidentTensor>): Promise<DevicesOutcome> {
    const { library } = devices;
    const offers = await Promise.all(this.#connections.map(({ offer }) => offer));
    const reason = whyNoLanes(offerOf(devices), offers, this.#options.expertWorker);
    const ids =
      reason === undefined && library !== undefined
        ? { requests: library.uniqueId(), answers: library.uniqueId() }
        : undefined;
    for (const connection of this.#connections) connection.reply({ ids, reason });
    // All ranks have the replies of all expert workers, and decide alike.
    const decisions = await Promise.all(this.#connections.map(({ decision }) => decision));
    const against = reason ?? decisions.find((decision) => decision.reason !== undefined)?.reason;
    if (against !== undefined || library === undefined || ids === undefined) return { reason: against ?? '' };
    if (this.#failure !== undefined) throw this.#failure;
    const lanes = new DeviceLanes(library, ids, WORKER_MEMBER, memberOf(this.#connections.length));
    this.#devices = { lanes, allocate, receiving: new SerialQueue(), rows: new Set() };
    await lanes.opened();
    return { description: library.name };
  }

  async *requests(): AsyncGenerator<ExpertRequest, void> {
    for (;;) {
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#isClosed) return;
      this.#changed = deferred();
      const requests = this.#requests;
      this.#requests = [];
      yield* requests;
      await this.#changed.promise;
    }
  }

  async fail(error: WeftError): Promise<void> {
    for (const connection of this.#connections) connection.fail(error);
    const closed = Promise.all(this.#options.duplexes.map((duplex) => duplex.closed));
    await settlesWithin(closed, CLOSE_GRACE_MS);
    await this.close();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#stopListening();
    for (const connection of this.#connections) connection.close();
    this.#changed.resolve();
    await this.#freeDevices(this.#failure ?? new WeftError('cancelled', 'the exchange with the ranks is closed'));
    this.#options.onClose?.();
  }

  /** Of a generation that broke off, requests are left that nobody will release. */
  async #freeDevices(error: WeftError): Promise<void> {
    if (this.#devices === undefined) return;
    const { lanes, receiving, rows } = this.#devices;
    await lanes.close(error);
    await receiving.idle();
    for (const each of rows) each.dispose();
  }

  /** Without one rank the step cannot end. The other ranks receive the reason and wait for the coordinator. */
  #fail(error: WeftError): void {
    this.#failure ??= error;
    for (const connection of this.#connections) connection.fail(error);
    // Thrown where the exchange is closed.
    this.#devices?.lanes.close(error).catch(() => {});
    this.#changed.resolve();
  }
}

/** What rows from other devices need. */
interface OpenDevices {
  readonly lanes: DeviceLanes;
  readonly allocate: () => Promise<ResidentTensor>;
  /** One request after the other, in the order of their messages. */
  readonly receiving: SerialQueue;
  /** Those that are not released. */
  readonly rows: Set<ResidentTensor>;
}

/** Blocks of rows that are used again and again: fresh pages cost more than the copy into them. */
class BlockPool {
  readonly #length: number;
  readonly #free: Float32Array[] = [];

  /** @param length values of a block */
  constructor(length: number) {
    this.#length = length;
  }

  take(): Float32Array {
    return this.#free.pop() ?? new Float32Array(this.#length);
  }

  giveBack(block: Float32Array): void {
    this.#free.push(block);
  }
}

interface ServerConnectionOptions extends GenerationId {
  /** The rank at the other end. */
  readonly rank: number;
  /** The number of this expert worker. */
  readonly expertWorker: number;
  readonly shape: ExchangeShape;
  readonly duplex: Duplex;
  readonly pool: BlockPool;
  readonly onRequest: (request: ExpertRequest) => void;
  /** Called once, when the connection is of no more use. */
  readonly onFailure: (error: WeftError) => void;
  /** Undefined before they are open, and where rows go over the connection. */
  readonly devices: () => OpenDevices | undefined;
}

/** An expert worker's connection to one rank. */
class ExpertServerConnection {
  readonly #options: ServerConnectionOptions;
  readonly #shard: ExpertShard;
  readonly #writer: MessageWriter;
  readonly #reader: MessageReader;
  readonly #offer = deferred<DeviceOffer>();
  readonly #decision = deferred<LaneReply>();
  #hasOffered = false;
  #unanswered = 0;
  #isOver = false;

  constructor(options: ServerConnectionOptions) {
    const { generation, rank, expertWorker, shape, duplex, pool, onRequest } = options;
    this.#options = options;
    this.#shard = expertShard(shape, expertWorker);
    this.#writer = new MessageWriter(duplex);
    const accept = (request: ExpertRequest) => {
      this.#unanswered++;
      onRequest(request);
    };
    const isReady = () => this.#unanswered < MAX_UNANSWERED;
    const expected = { generation, isAnswer: false, shard: this.#shard, precision: shape.precision };
    this.#reader = new MessageReader(expected, {
      blockFor: () => pool.take(),
      onRows: (...message) => accept(this.#rowsRequest(...message)),
      onSquaredNorm: (header) => accept(this.#normRequest(header)),
      onDeviceRows: (...message) => {
        this.#unanswered++;
        this.#receive(...message);
      },
      onDevices: (_, text) => {
        if (this.#hasOffered) this.#decision.resolve(decodeReply(text));
        else this.#offer.resolve(decodeOffer(text));
        this.#hasOffered = true;
      },
      onFailure: (error) => this.#fail(this.#named(error)),
      get isReady() {
        return isReady();
      },
    });
    void duplex.closed.then((cause) => {
      const why = cause === undefined ? '' : ` (${cause.message})`;
      this.#fail(rankGone(options, rank, `its connection to expert worker ${expertWorker} closed${why}`));
    });
  }

  /** Receives from now on; an invalid message among bytes already read fails the connection at once. */
  start(): void {
    this.#options.duplex.receive(this.#reader);
  }

  /** What the rank has. @throws WeftError why it does not say it */
  get offer(): Promise<DeviceOffer> {
    return this.#offer.promise;
  }

  /** What the ranks have decided. @throws WeftError why it does not say it */
  get decision(): Promise<LaneReply> {
    return this.#decision.promise;
  }

  reply(reply: LaneReply): void {
    if (!this.#isOver) this.#writer.devices(this.#context(), encodeReply(reply));
  }

  get bytesSent(): number {
    return this.#writer.bytesSent;
  }

  get bytesReceived(): number {
    return this.#reader.bytesReceived;
  }

  /** Sends the rank the reason, and closes once it has left. */
  fail(error: WeftError): void {
    if (this.#isOver) return;
    this.#writer.fault(this.#context(), error);
    this.#end(error);
    this.#options.duplex.end();
  }

  close(): void {
    this.#end(new WeftError('cancelled', 'the exchange with the ranks is closed'));
    this.#options.duplex.destroy();
  }

  #end(error: WeftError): void {
    this.#isOver = true;
    this.#reader.stop();
    for (const awaited of [this.#offer, this.#decision] as Deferred<never>[]) {
      awaited.promise.catch(() => {});
      awaited.reject(error);
    }
  }

  #rowsRequest(header: MessageHeader, rows_ECD: Float32Array, tokensPerExpert_EG: Int32Array): ExpertRequest {
    const { direction, step, microbatch, layer } = header;
    const { rank, pool, duplex } = this.#options;
    return {
      kind: 'rows',
      rank,
      direction,
      step,
      microbatch,
      layer,
      rows_ECD,
      answer: async (answer_ECD) => {
        if (answer_ECD.length !== blockLength(this.#shard))
          throw new WeftError('internal', `an answer has ${answer_ECD.length} values`);
        if (this.#isOver) return;
        const flushed = this.#writer.rows({ ...header, isAnswer: true }, answer_ECD, tokensPerExpert_EG, this.#shard);
        this.#answered();
        // A broken connection never flushes, but reads no memory either.
        await Promise.race([flushed, duplex.closed]);
      },
      release: () => pool.giveBack(rows_ECD),
    };
  }

  /** Receives the rows that a message announced, in the order of the messages. */
  #receive(header: MessageHeader, tokensPerExpert_EG: Int32Array): void {
    const { rank, onRequest } = this.#options;
    const devices = this.#options.devices() ?? refuse('corrupt_data', 'rows from a device that is not open');
    const received = devices.receiving.run(async () => {
      const rows = await devices.allocate();
      devices.rows.add(rows);
      await spanOf(rows, async (block) => {
        const receives = transfersOf(block, tokensPerExpert_EG, this.#shard, memberOf(rank));
        await devices.lanes.requests.exchange([], receives, unusedOf(block, tokensPerExpert_EG, this.#shard));
      });
      onRequest(this.#deviceRowsRequest(header, rows, tokensPerExpert_EG, devices));
    });
    received.catch((error: unknown) => this.#laneFailed(error));
  }

  #deviceRowsRequest(
    header: MessageHeader,
    rows: ResidentTensor,
    tokensPerExpert_EG: Int32Array,
    { lanes, rows: open }: OpenDevices,
  ): DeviceRowsRequest {
    const { direction, step, microbatch, layer } = header;
    const { rank } = this.#options;
    const send = (block: DeviceSpan): Promise<void> => {
      if (this.#isOver) return Promise.resolve();
      // In one turn, so that messages and transfers have one order.
      this.#writer.deviceRows({ ...header, isAnswer: true }, tokensPerExpert_EG);
      this.#answered();
      return lanes.answers.exchange(transfersOf(block, tokensPerExpert_EG, this.#shard, memberOf(rank)), []);
    };
    return {
      kind: 'deviceRows',
      ...{ rank, direction, step, microbatch, layer, rows },
      answer: (answer) => spanOf(answer, send).catch((error: unknown) => this.#laneFailed(error)),
      release: () => {
        open.delete(rows);
        rows.dispose();
      },
    };
  }

  /** The library notices a rank that is gone too, but the connection can name it. */
  async #laneFailed(thrown: unknown): Promise<void> {
    await settlesWithin(this.#options.duplex.closed, CLOSE_GRACE_MS);
    this.#fail(this.#named(WeftError.from(thrown)));
  }

  #normRequest(header: MessageHeader): ExpertRequest {
    const { step } = header;
    return {
      kind: 'squaredNorm',
      rank: this.#options.rank,
      step,
      answer: (value) => {
        if (this.#isOver) return;
        this.#writer.squaredNorm({ ...header, isAnswer: true }, value);
        this.#answered();
      },
    };
  }

  #answered(): void {
    this.#unanswered--;
    if (this.#isOver || this.#unanswered !== MAX_UNANSWERED - 1) return;
    setImmediate(() => !this.#isOver && this.#options.duplex.receive(this.#reader));
  }

  /** Of a fault, which belongs to no request. */
  #context(): MessageContext {
    const { generation, shape } = this.#options;
    const { capacity: _, ...shard } = this.#shard;
    const request = { direction: 'forward', step: 0, microbatch: 0, layer: 0 } as const;
    return { ...request, isAnswer: true, precision: shape.precision, generation, ...shard };
  }

  #named({ code, message, hint }: WeftError): WeftError {
    const { rank } = this.#options;
    if (code === 'unavailable') return rankGone(this.#options, rank, message);
    return new WeftError(code, `rank ${rank}: ${message}`, hint === undefined ? {} : { hint });
  }

  #fail(error: WeftError): void {
    if (this.#isOver) return;
    this.#end(error);
    this.#options.duplex.destroy();
    this.#options.onFailure(error);
  }
}

/** Lends the memory of a tensor that one device holds whole. */
function spanOf(tensor: ResidentTensor, work: (block: DeviceSpan) => Promise<void>): Promise<void> {
  const lend = tensor.lend ?? refuse('internal', 'rows for another device lie on the host');
  return lend.call(tensor, ([block, ...more]) =>
    block === undefined || more.length > 0 ? refuse('internal', 'rows lie on several devices') : work(block),
  ) as Promise<void>;
}
