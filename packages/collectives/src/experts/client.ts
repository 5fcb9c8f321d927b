import { refuse, settlesWithin, WeftError } from '@weft/common';
import type { DeviceSpan } from '@weft/tensor';
import { generationName, type RankId } from '../connect/rank-id.js';
import type { NcclLibrary } from '../nccl/library.js';
import type { Duplex } from '../transport/duplex.js';
import { describeRequest, type MessageHeader, MessageWriter, type RequestKey } from './codec.js';
import {
  DeviceLanes,
  type DeviceOffer,
  decodeReply,
  encodeReply,
  type LaneIds,
  type LaneReply,
  memberOf,
  offerOf,
  transfersOf,
  unusedOf,
  WORKER_MEMBER,
  within,
} from './device-lanes.js';
import type {
  DeviceExpertRows,
  DevicesOutcome,
  ExchangeDevices,
  ExchangeShape,
  ExchangeStats,
  ExchangeSubject,
  ExpertExchange,
  ExpertRows,
} from './exchange.js';
import { blockLength, type ExpertShard, expertShard, expertWorkerGone, expertWorkerName } from './expert-shard.js';
import { MessageReader } from './message-reader.js';

const CLOSE_GRACE_MS = 1_000;
/** What messages about devices belong to. */
const ABOUT_DEVICES = { content: 'devices', direction: 'forward', step: 0, microbatch: 0, layer: 0 } as const;

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

  async openDevices(devices: ExchangeDevices): Promise<DevicesOutcome> {
    const replies = await allSettled(this.#clients.map((client) => client.offerDevices(offerOf(devices))));
    const reason = replies.find((reply) => reply.reason !== undefined)?.reason;
    for (const client of this.#clients) client.decide({ reason });
    const { library, missing } = devices;
    if (reason !== undefined || library === undefined) return { reason: reason ?? missing ?? '' };
    await allSettled(this.#clients.map((client, index) => client.openLanes(library, replies[index]?.ids)));
    return { description: library.name };
  }

  async exchangeOnDevices(
    subject: ExchangeSubject,
    { tokensPerExpert_EG, rows, answer }: DeviceExpertRows,
  ): Promise<void> {
    const { placement, groups, capacity, width } = this.#shape;
    const lists = (placement.at(-1)?.end ?? 0) * groups;
    const listValues = capacity * width;
    checkLength('counts', tokensPerExpert_EG, lists);
    for (const { elements } of [rows, answer]) checkLength('rows', { length: elements }, lists * listValues);
    await allSettled(
      this.#clients.map((client, index) => {
        const { first, end } = placement[index]!;
        const part = (span: DeviceSpan) => within(span, first * groups * listValues, end * groups * listValues);
        return client.exchangeOnDevices(subject, {
          tokensPerExpert_EG: tokensPerExpert_EG.slice(first * groups, end * groups),
          rows: part(rows),
          answer: part(answer),
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
    await Promise.all(this.#clients.map((client) => client.freed));
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
  readonly answer_ECD?: Float32Array | undefined;
  /** The same in the memory of the device. */
  readonly onDevice?: Pick<DeviceExpertRows, 'tokensPerExpert_EG' | 'answer'> | undefined;
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
  /** The text of the last message about devices. */
  #reply = '';
  #lanes: DeviceLanes | undefined;
  #freed: Promise<void> = Promise.resolve();
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
      onDeviceRows: (header, tokensPerExpert_EG) => this.#receive(header, tokensPerExpert_EG),
      onDevices: (header, text) => {
        this.#reply = text;
        this.#resolve(header, 0);
      },
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
    const { bytesSent = 0, bytesReceived = 0 } = this.#lanes?.stats ?? {};
    return {
      bytesSent: this.#writer.bytesSent + bytesSent,
      bytesReceived: this.#reader.bytesReceived + bytesReceived,
    };
  }

  /** Resolves when nothing of the libraries is left, once the client has failed or was closed. */
  get freed(): Promise<void> {
    return this.#freed;
  }

  /** Says what this rank has; resolves with what the expert worker makes of the offers of all ranks. */
  async offerDevices(offer: DeviceOffer): Promise<LaneReply> {
    const answered = this.#expectAnswer(ABOUT_DEVICES, {});
    if (this.#failure === undefined) this.#writer.devices(this.#header(ABOUT_DEVICES), JSON.stringify(offer));
    await answered;
    return decodeReply(this.#reply);
  }

  /** Says what the ranks have decided. */
  decide(reply: LaneReply): void {
    if (this.#failure === undefined) this.#writer.devices(this.#header(ABOUT_DEVICES), encodeReply(reply));
  }

  async openLanes(library: NcclLibrary, ids: LaneIds | undefined): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    const { rank, worldSize } = this.#options.rankId;
    if (ids === undefined) return refuse('corrupt_data', 'an expert worker agreed without an id');
    this.#lanes = new DeviceLanes(library, ids, memberOf(rank), memberOf(worldSize));
    await this.#lanes.opened();
  }

  /** @param call the part of this worker's experts */
  async exchangeOnDevices(subject: ExchangeSubject, call: DeviceExpertRows): Promise<void> {
    const { tokensPerExpert_EG, rows } = call;
    const key = { content: 'deviceRows', ...subject } as const;
    const answered = this.#expectAnswer(key, { onDevice: call });
    if (this.#failure !== undefined || this.#lanes === undefined) return void (await answered);
    // In one turn, so that messages and transfers have one order.
    this.#writer.deviceRows(this.#header(key), tokensPerExpert_EG);
    const sends = transfersOf(rows, tokensPerExpert_EG, this.#shard, WORKER_MEMBER);
    const sent = this.#lanes.requests.exchange(sends, []);
    sent.catch((error: unknown) => this.#laneFailed(error));
    const [outcome] = await Promise.allSettled([answered, sent]);
    // What is received last may still arrive when the request has failed.
    if (outcome.status === 'rejected') await this.#freed.catch(() => {});
    await answered;
  }

  /** @param call the part of this worker's experts */
  async exchange(subject: ExchangeSubject, { tokensPerExpert_EG, rows_ECD, answer_ECD }: ExpertRows): Promise<void> {
    const key = { content: 'rows', ...subject } as const;
    const answered = this.#expectAnswer(key, { answer_ECD });
    if (this.#failure === undefined)
      void this.#writer.rows(this.#header(key), rows_ECD, tokensPerExpert_EG, this.#shard);
    await answered;
  }

  squaredNorm(step: number): Promise<number> {
    const key = { content: 'squaredNorm', direction: 'forward', step, microbatch: 0, layer: 0 } as const;
    const answered = this.#expectAnswer(key, {});
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
    if (this.#lanes !== undefined) this.#freed = this.#lanes.close(error);
    // Thrown where the exchange is closed.
    this.#freed.catch(() => {});
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

  /** The rows of an answer are on their way from the expert worker's device. */
  #receive(header: MessageHeader, tokensPerExpert_EG: Int32Array): void {
    const { onDevice } = this.#find(header);
    if (onDevice === undefined || this.#lanes === undefined)
      refuse('corrupt_data', `an answer from another memory to ${describeRequest(header)}`);
    const asked = onDevice.tokensPerExpert_EG;
    if (asked.some((rows, list) => tokensPerExpert_EG[list] !== rows))
      refuse('corrupt_data', `an answer of other numbers of rows to ${describeRequest(header)}`);
    const receives = transfersOf(onDevice.answer, asked, this.#shard, WORKER_MEMBER);
    const unused = unusedOf(onDevice.answer, asked, this.#shard);
    void this.#lanes.answers.exchange([], receives, unused).then(
      () => this.#resolve(header, 0),
      (error: unknown) => this.#laneFailed(error),
    );
  }

  /** The library notices a peer that is gone too, but the connection can name it. */
  async #laneFailed(thrown: unknown): Promise<void> {
    await settlesWithin(this.#options.duplex.closed, CLOSE_GRACE_MS);
    this.fail(this.#named(WeftError.from(thrown)));
  }

  #expectAnswer(key: RequestKey, into: Pick<PendingRequest, 'answer_ECD' | 'onDevice'>): Promise<number> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    const text = keyText(key);
    if (this.#pending.has(text))
      return Promise.reject(new WeftError('internal', `${describeRequest(key)} are under way already`));
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.fail(this.#timedOut(key)), this.#options.answerTimeoutMs);
      this.#pending.set(text, { ...into, resolve, reject, timer });
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
