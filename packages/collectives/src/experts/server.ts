import { deferred, settlesWithin, WeftError } from '@weft/common';
import { type GenerationId, generationName, rankGone } from '../connect/rank-id.js';
import type { Duplex } from '../transport/duplex.js';
import { type MessageContext, type MessageHeader, MessageWriter } from './codec.js';
import type { ExchangeShape, ExchangeStats, ExpertHost, ExpertRequest } from './exchange.js';
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
      (duplex, rank) => new ExpertServerConnection({ ...options, rank, duplex, pool, onRequest, onFailure }),
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
    return { bytesSent: total('bytesSent'), bytesReceived: total('bytesReceived') };
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
    this.#options.onClose?.();
  }

  /** Without one rank the step cannot end. The other ranks receive the reason and wait for the coordinator. */
  #fail(error: WeftError): void {
    this.#failure ??= error;
    for (const connection of this.#connections) connection.fail(error);
    this.#changed.resolve();
  }
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
}

/** An expert worker's connection to one rank. */
class ExpertServerConnection {
  readonly #options: ServerConnectionOptions;
  readonly #shard: ExpertShard;
  readonly #writer: MessageWriter;
  readonly #reader: MessageReader;
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
    this.#isOver = true;
    this.#reader.stop();
    this.#options.duplex.end();
  }

  close(): void {
    this.#isOver = true;
    this.#reader.stop();
    this.#options.duplex.destroy();
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
    this.close();
    this.#options.onFailure(error);
  }
}
