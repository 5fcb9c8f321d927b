import { refuse, settlesWithin, WeftError } from '@weft/common';
import { generationName, type RankId } from '../connect/rank-id.js';
import type { Duplex } from '../transport/duplex.js';
import { describeRequest, type MessageHeader, MessageWriter, type RequestKey } from './codec.js';
import type { ExchangeShape, ExchangeStats, ExchangeSubject, ExpertExchange, ExpertRows } from './exchange.js';
import { blockLength, type ExpertShard, expertShard, expertWorkerGone, expertWorkerName } from './expert-shard.js';
import { MessageReader } from './message-reader.js';

const CLOSE_GRACE_MS = 1_000;

interface ExpertClientsOptions {
  /** This rank. */
  readonly rankId: RankId;
  readonly shape: ExchangeShape;
  /** The connections to the expert workers, in order. */
  readonly duplexes: readonly Duplex[];
  /** How long an expert worker may take to answer. */
  readonly answerTimeoutMs: number;
  /** When it aborts, the exchange fails with `cancelled`. */
  readonly signal?: AbortSignal | undefined;
  /** Called when the exchange is closed. */
  readonly onClose?: () => void;
}

/** A rank's connections to all expert workers: each gets the rows of its own experts, straight from the caller's array. */
export class ExpertClients implements ExpertExchange {
  readonly #clients: readonly ExpertClient[];
  readonly #shape: ExchangeShape;
  readonly #name: string;
  readonly #stopListening: () => void;
  readonly #onClose: () => void;

  constructor({ rankId, shape, duplexes, answerTimeoutMs, signal, onClose = () => {} }: ExpertClientsOptions) {
    this.#shape = shape;
    this.#name = generationName(rankId);
    this.#onClose = onClose;
    // A step cannot end without one of the workers: the calls to the others fail for the same reason.
    const onFailure = (error: WeftError) => this.#fail(error);
    this.#clients = duplexes.map(
      (duplex, expertWorker) => new ExpertClient({ rankId, expertWorker, shape, duplex, answerTimeoutMs, onFailure }),
    );
    const abort = () =>
      this.#fail(new WeftError('cancelled', `the exchange with the experts of ${this.#name} was cancelled`));
    signal?.addEventListener('abort', abort, { once: true });
    this.#stopListening = () => signal?.removeEventListener('abort', abort);
    if (signal?.aborted) abort();
    // Bytes that were read with the handshake arrive now, and a failure among them reaches all clients.
    for (const client of this.#clients) client.start();
  }

  get stats(): ExchangeStats {
    const stats = this.#clients.map((client) => client.stats);
    const total = (of: keyof ExchangeStats) => stats.reduce((sum, each) => sum + each[of], 0);
    return { bytesSent: total('bytesSent'), bytesReceived: total('bytesReceived') };
  }

  async exchange(subject: ExchangeSubject, { tokensPerExpert_EG, rows_ECD, answer_ECD }: ExpertRows): Promise<void> {
    const { placement, groups, capacity, width } = this.#shape;
    const lists = (placement.at(-1)?.end ?? 0) * groups;
    const listValues = capacity * width;
    checkLength('counts', tokensPerExpert_EG, lists);
    for (const rows of [rows_ECD, answer_ECD]) checkLength('rows', rows, lists * listValues);
    await allSettled(
      this.#clients.map((client, index) => {
        const { first, end } = placement[index]!;
        const part = (values: Float32Array) => values.subarray(first * groups * listValues, end * groups * listValues);
        return client.exchange(subject, {
          tokensPerExpert_EG: tokensPerExpert_EG.subarray(first * groups, end * groups),
          rows_ECD: part(rows_ECD),
          answer_ECD: part(answer_ECD),
        });
      }),
    );
  }

  squaredNorms(step: number): Promise<readonly number[]> {
    return allSettled(this.#clients.map((client) => client.squaredNorm(step)));
  }

  async close(): Promise<void> {
    this.#stopListening();
    this.#fail(new WeftError('cancelled', `the exchange with the experts of ${this.#name} is closed`));
    this.#onClose();
  }

  #fail(error: WeftError): void {
    for (const client of this.#clients) client.fail(error);
  }
}

function checkLength(what: string, { length }: ArrayLike<number>, expected: number): void {
  if (length !== expected)
    refuse('invalid_argument', `the ${what} of all experts are ${expected} values, not ${length}`);
}

/** Settles only when all calls have, so that no array is touched afterwards; rejects with the first failure. */
async function allSettled<T>(calls: readonly Promise<T>[]): Promise<readonly T[]> {
  await Promise.allSettled(calls);
  return Promise.all(calls);
}

interface ExpertClientOptions {
  /** This rank. */
  readonly rankId: RankId;
  /** The number of the expert worker at the other end. */
  readonly expertWorker: number;
  readonly shape: ExchangeShape;
  readonly duplex: Duplex;
  /** How long an answer may take. */
  readonly answerTimeoutMs: number;
  /** Called once, when no more requests can be made. */
  readonly onFailure: (error: WeftError) => void;
}

interface PendingRequest {
  /** Receives the rows of the answer. */
  readonly answer_ECD: Float32Array | undefined;
  readonly resolve: (value: number) => void;
  readonly reject: (error: WeftError) => void;
  readonly timer: NodeJS.Timeout;
}

/** A rank's connection to one expert worker. Several requests may be pending; their answers come in any order. */
export class ExpertClient {
  readonly #options: ExpertClientOptions;
  readonly #shard: ExpertShard;
  readonly #writer: MessageWriter;
  readonly #reader: MessageReader;
  readonly #pending = new Map<string, PendingRequest>();
  #failure: WeftError | undefined;

  constructor(options: ExpertClientOptions) {
    const { rankId, expertWorker, shape, duplex } = options;
    this.#options = options;
    this.#shard = expertShard(shape, expertWorker);
    this.#writer = new MessageWriter(duplex);
    const { generation } = rankId;
    const expected = { generation, isAnswer: true, shard: this.#shard, precision: shape.precision };
    this.#reader = new MessageReader(expected, {
      blockFor: (header) => this.#find(header).answer_ECD ?? new Float32Array(blockLength(this.#shard)),
      onRows: (header) => this.#resolve(header, 0),
      onSquaredNorm: (header, value) => this.#resolve(header, value ?? Number.NaN),
      onFailure: (error) => this.fail(this.#named(error)),
      isReady: true,
    });
    void duplex.closed.then((cause) => {
      const how = cause === undefined ? 'its connection closed' : `its connection closed (${cause.message})`;
      this.fail(expertWorkerGone(rankId, expertWorker, how));
    });
  }

  /** Receives from now on; an invalid message among bytes already read fails the client at once. */
  start(): void {
    this.#options.duplex.receive(this.#reader);
  }

  get stats(): ExchangeStats {
    return { bytesSent: this.#writer.bytesSent, bytesReceived: this.#reader.bytesReceived };
  }

  /** @param call the part of this worker's experts */
  async exchange(subject: ExchangeSubject, { tokensPerExpert_EG, rows_ECD, answer_ECD }: ExpertRows): Promise<void> {
    const key = { content: 'rows', ...subject } as const;
    const answered = this.#expectAnswer(key, answer_ECD);
    if (this.#failure === undefined)
      void this.#writer.rows(this.#header(key), rows_ECD, tokensPerExpert_EG, this.#shard);
    await answered;
  }

  squaredNorm(step: number): Promise<number> {
    const key = { content: 'squaredNorm', direction: 'forward', step, microbatch: 0, layer: 0 } as const;
    const answered = this.#expectAnswer(key, undefined);
    if (this.#failure === undefined) this.#writer.squaredNorm(this.#header(key));
    return answered;
  }

  /**
   * Ends the exchange: pending and later requests reject with `error`, and no array is touched any more. The expert
   * worker receives the reason, unless an array would have to be sent before it.
   */
  fail(error: WeftError): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    this.#reader.stop();
    this.#disconnect(error);
    for (const { timer, reject } of this.#pending.values()) {
      clearTimeout(timer);
      reject(error);
    }
    this.#pending.clear();
    this.#options.onFailure(error);
  }

  #disconnect(error: WeftError): void {
    const { duplex } = this.#options;
    if (!this.#writer.isIdle) {
      duplex.destroy();
      return;
    }
    const key = { content: 'fault', direction: 'forward', step: 0, microbatch: 0, layer: 0 } as const;
    this.#writer.fault(this.#header(key), error);
    duplex.end();
    void settlesWithin(duplex.closed, CLOSE_GRACE_MS).then(() => duplex.destroy());
  }

  #expectAnswer(key: RequestKey, answer_ECD: Float32Array | undefined): Promise<number> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    const text = keyText(key);
    if (this.#pending.has(text))
      return Promise.reject(new WeftError('internal', `${describeRequest(key)} are under way already`));
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.fail(this.#timedOut(key)), this.#options.answerTimeoutMs);
      this.#pending.set(text, { answer_ECD, resolve, reject, timer });
    });
  }

  #resolve(header: MessageHeader, value: number): void {
    const { resolve, timer } = this.#find(header);
    clearTimeout(timer);
    this.#pending.delete(keyText(header));
    resolve(value);
  }

  #find(header: MessageHeader): PendingRequest {
    return (
      this.#pending.get(keyText(header)) ??
      refuse('corrupt_data', `an answer to ${describeRequest(header)} that was not requested`)
    );
  }

  #header(key: RequestKey): Omit<MessageHeader, 'payloadBytes'> {
    const { rankId, shape } = this.#options;
    const { capacity: _, ...shard } = this.#shard;
    return { ...key, isAnswer: false, precision: shape.precision, generation: rankId.generation, ...shard };
  }

  #timedOut(key: RequestKey): WeftError {
    const { rankId, expertWorker, answerTimeoutMs } = this.#options;
    const who = expertWorkerName(rankId, expertWorker);
    const what = describeRequest(key);
    return new WeftError('deadline_exceeded', `${who} did not answer ${what} within ${answerTimeoutMs / 1000} s`, {
      hint: `look at the log of expert worker ${expertWorker}, and whether its host is overloaded`,
    });
  }

  #named(error: WeftError): WeftError {
    const who = expertWorkerName(this.#options.rankId, this.#options.expertWorker);
    const hint = error.hint === undefined ? {} : { hint: error.hint };
    return new WeftError(error.code, `${who}: ${error.message}`, { cause: error, ...hint });
  }
}

function keyText({ content, direction, step, microbatch, layer }: RequestKey): string {
  return `${content}/${direction}/${step}/${microbatch}/${layer}`;
}
