import { WeftError } from '@weft/common';
import type { Wire } from '../link.js';
import type { RingPlace } from '../ring-place.js';
import { settledWithin } from '../settled-within.js';
import type { ExchangeShape, ExchangeStats, ExchangeSubject, ExpertRows } from './exchange.js';
import { blockOf, expectationOf, expertWorkerGone, expertWorkerName } from './exchange-place.js';
import { describeSubject, type MessageHeader } from './message-header.js';
import { MessageReader } from './message-reader.js';
import { MessageWriter } from './message-writer.js';
import { type BlockShape, blockLength } from './row-counts.js';

const CLOSE_GRACE_MS = 1_000;

export interface ExpertCallerOptions {
  /** This rank. */
  readonly place: RingPlace;
  /** Which expert worker is at the other end. */
  readonly expertWorker: number;
  readonly shape: ExchangeShape;
  readonly wire: Wire;
  /** How long an answer may take. */
  readonly answerTimeoutMs: number;
  /** Told once, when the exchange with this worker can go on no more. */
  readonly onFailure: (error: WeftError) => void;
}

interface Pending {
  /** Where the rows of the answer go. */
  readonly answer_ECD: Float32Array | undefined;
  readonly resolve: (value: number) => void;
  readonly reject: (error: WeftError) => void;
  readonly timer: NodeJS.Timeout;
}

type Question = Pick<MessageHeader, 'content' | 'direction' | 'step' | 'microbatch' | 'layer'>;

/** A rank's connection to one expert worker: questions out, answers in, in whatever order they come. */
export class ExpertCaller {
  readonly #options: ExpertCallerOptions;
  readonly #block: BlockShape;
  readonly #writer: MessageWriter;
  readonly #reader: MessageReader;
  readonly #pending = new Map<string, Pending>();
  #failure: WeftError | undefined;

  constructor(options: ExpertCallerOptions) {
    const { place, expertWorker, shape, wire } = options;
    this.#options = options;
    this.#block = blockOf(shape, expertWorker);
    this.#writer = new MessageWriter(wire);
    this.#reader = new MessageReader(expectationOf(place, shape, expertWorker, true), {
      place: (header) => this.#find(header).answer_ECD ?? new Float32Array(blockLength(this.#block)),
      rows: (header) => this.#answered(header, 0),
      squaredNorm: (header, value) => this.#answered(header, value ?? Number.NaN),
      failed: (error) => this.fail(this.#named(error)),
      isReady: true,
    });
    void wire.closed.then((cause) => {
      const why = cause === undefined ? 'its connection closed' : `its connection closed (${cause.message})`;
      this.fail(expertWorkerGone(place, expertWorker, why));
    });
    wire.pull(this.#reader);
  }

  get stats(): ExchangeStats {
    return { bytesSent: this.#writer.bytesSent, bytesReceived: this.#reader.bytesReceived };
  }

  /** @param call the part of this worker's experts. */
  async exchange(subject: ExchangeSubject, { filled_EG, rows_ECD, answer_ECD }: ExpertRows): Promise<void> {
    const question = { content: 'rows', ...subject } as const;
    const answered = this.#ask(question, answer_ECD);
    if (this.#failure === undefined) void this.#writer.rows(this.#header(question), rows_ECD, filled_EG, this.#block);
    await answered;
  }

  squaredNorm(step: number): Promise<number> {
    const question = { content: 'squaredNorm', direction: 'forward', step, microbatch: 0, layer: 0 } as const;
    const answered = this.#ask(question, undefined);
    if (this.#failure === undefined) this.#writer.squaredNorm(this.#header(question));
    return answered;
  }

  /**
   * Ends it: pending calls and later ones reject with `error`, and no array is touched any more. The expert worker hears
   * why, unless an array would have to be sent before.
   */
  fail(error: WeftError): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    this.#reader.stop();
    this.#hangUp(error);
    for (const { timer, reject } of this.#pending.values()) {
      clearTimeout(timer);
      reject(error);
    }
    this.#pending.clear();
    this.#options.onFailure(error);
  }

  #hangUp(error: WeftError): void {
    const { wire } = this.#options;
    if (!this.#writer.isIdle) {
      wire.destroy();
      return;
    }
    const nothing = { content: 'fault', direction: 'forward', step: 0, microbatch: 0, layer: 0 } as const;
    this.#writer.fault(this.#header(nothing), error);
    wire.end();
    void settledWithin(wire.closed, CLOSE_GRACE_MS).then(() => wire.destroy());
  }

  #ask(question: Question, answer_ECD: Float32Array | undefined): Promise<number> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    const key = keyOf(question);
    if (this.#pending.has(key))
      return Promise.reject(new WeftError('internal', `${describeSubject(question)} are under way already`));
    return new Promise((resolve, reject) => {
      const { answerTimeoutMs } = this.#options;
      const timer = setTimeout(() => this.fail(this.#late(question)), answerTimeoutMs);
      this.#pending.set(key, { answer_ECD, resolve, reject, timer });
    });
  }

  #answered(header: MessageHeader, value: number): void {
    const { resolve, timer } = this.#find(header);
    clearTimeout(timer);
    this.#pending.delete(keyOf(header));
    resolve(value);
  }

  #find(header: MessageHeader): Pending {
    const pending = this.#pending.get(keyOf(header));
    if (pending === undefined) throw new WeftError('corrupt_data', `an answer to ${describeSubject(header)}, unasked`);
    return pending;
  }

  #header(question: Question): Omit<MessageHeader, 'payloadBytes'> {
    const { place, shape } = this.#options;
    const { capacity: _, ...block } = this.#block;
    return { ...question, isAnswer: false, precision: shape.precision, generation: place.generation, ...block };
  }

  #late(question: Question): WeftError {
    const { place, expertWorker, answerTimeoutMs } = this.#options;
    const who = expertWorkerName(place, expertWorker);
    const what = describeSubject(question);
    return new WeftError('deadline_exceeded', `${who} did not answer ${what} within ${answerTimeoutMs / 1000} s`, {
      cure: `look at the log of expert worker ${expertWorker}, and whether its host is overloaded`,
    });
  }

  #named(error: WeftError): WeftError {
    const who = expertWorkerName(this.#options.place, this.#options.expertWorker);
    const cure = error.cure === undefined ? {} : { cure: error.cure };
    return new WeftError(error.code, `${who}: ${error.message}`, { cause: error, ...cure });
  }
}

function keyOf({ content, direction, step, microbatch, layer }: Question): string {
  return `${content}/${direction}/${step}/${microbatch}/${layer}`;
}
