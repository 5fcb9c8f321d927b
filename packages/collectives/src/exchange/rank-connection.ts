import { WeftError } from '@weft/common';
import type { Wire } from '../link.js';
import { type RingPlace, rankGone } from '../ring-place.js';
import type { ExchangeShape, ExpertRequest } from './exchange.js';
import { blockOf, expectationOf } from './exchange-place.js';
import type { MessageHeader } from './message-header.js';
import { MessageReader } from './message-reader.js';
import { MessageWriter } from './message-writer.js';
import { type BlockShape, blockLength } from './row-counts.js';

/** A rank may have so many questions unanswered; more of them stay in its socket. */
const MAX_UNANSWERED = 16;

export interface RankConnectionOptions {
  /** The rank at the other end. */
  readonly place: RingPlace;
  readonly expertWorker: number;
  readonly shape: ExchangeShape;
  readonly wire: Wire;
  readonly pool: BlockPool;
  readonly onRequest: (request: ExpertRequest) => void;
  readonly onFailure: (error: WeftError) => void;
}

/** Memory for rows, used again and again: fresh pages cost more than the copy into them. */
export class BlockPool {
  readonly #length: number;
  readonly #free: Float32Array[] = [];

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

/** An expert worker's connection to one rank. */
export class RankConnection {
  readonly #options: RankConnectionOptions;
  readonly #block: BlockShape;
  readonly #writer: MessageWriter;
  readonly #reader: MessageReader;
  #unanswered = 0;
  #isOver = false;

  constructor(options: RankConnectionOptions) {
    const { place, expertWorker, shape, wire, pool, onRequest } = options;
    this.#options = options;
    this.#block = blockOf(shape, expertWorker);
    this.#writer = new MessageWriter(wire);
    const isReady = () => this.#unanswered < MAX_UNANSWERED;
    this.#reader = new MessageReader(expectationOf(place, shape, expertWorker, false), {
      place: () => pool.take(),
      rows: (...message) => this.#asked(() => onRequest(this.#rowsRequest(...message))),
      squaredNorm: (header) => this.#asked(() => onRequest(this.#normRequest(header))),
      failed: (error) => this.#failed(this.#named(error)),
      get isReady() {
        return isReady();
      },
    });
    void wire.closed.then((cause) => {
      const why = cause === undefined ? '' : ` (${cause.message})`;
      this.#failed(rankGone(place, place.rank, `its connection to expert worker ${expertWorker} closed${why}`));
    });
    wire.pull(this.#reader);
  }

  get bytesSent(): number {
    return this.#writer.bytesSent;
  }

  get bytesReceived(): number {
    return this.#reader.bytesReceived;
  }

  /** Tells the rank why, and hangs up once that has left. */
  fail(error: WeftError): void {
    if (this.#isOver) return;
    this.#writer.fault(this.#header(), error);
    this.#isOver = true;
    this.#reader.stop();
    this.#options.wire.end();
  }

  close(): void {
    this.#isOver = true;
    this.#reader.stop();
    this.#options.wire.destroy();
  }

  #asked(tell: () => void): void {
    this.#unanswered++;
    tell();
  }

  #answered(): void {
    this.#unanswered--;
    if (this.#isOver || this.#unanswered !== MAX_UNANSWERED - 1) return;
    setImmediate(() => !this.#isOver && this.#options.wire.pull(this.#reader));
  }

  #rowsRequest(header: MessageHeader, rows_ECD: Float32Array, filled_EG: Int32Array): ExpertRequest {
    const { direction, step, microbatch, layer } = header;
    const { place, pool } = this.#options;
    return {
      kind: 'rows',
      rank: place.rank,
      direction,
      step,
      microbatch,
      layer,
      rows_ECD,
      answer: async (answer_ECD) => {
        if (answer_ECD.length !== blockLength(this.#block))
          throw new WeftError('internal', `an answer has ${answer_ECD.length} values`);
        if (this.#isOver) return;
        const flushed = this.#writer.rows({ ...header, isAnswer: true }, answer_ECD, filled_EG, this.#block);
        this.#answered();
        // A connection that breaks flushes nothing any more, and reads no memory.
        await Promise.race([flushed, this.#options.wire.closed]);
      },
      release: () => pool.giveBack(rows_ECD),
    };
  }

  #normRequest(header: MessageHeader): ExpertRequest {
    const { step } = header;
    return {
      kind: 'squaredNorm',
      rank: this.#options.place.rank,
      step,
      answer: (value) => {
        if (this.#isOver) return;
        this.#writer.squaredNorm({ ...header, isAnswer: true }, value);
        this.#answered();
      },
    };
  }

  #header(): Omit<MessageHeader, 'content' | 'payloadBytes'> {
    const { place, shape } = this.#options;
    const { capacity: _, ...block } = this.#block;
    const about = { direction: 'forward', step: 0, microbatch: 0, layer: 0 } as const;
    return { ...about, isAnswer: true, precision: shape.precision, generation: place.generation, ...block };
  }

  #named({ code, message, cure }: WeftError): WeftError {
    const { place } = this.#options;
    if (code === 'unavailable') return rankGone(place, place.rank, message);
    return new WeftError(code, `rank ${place.rank}: ${message}`, cure === undefined ? {} : { cure });
  }

  #failed(error: WeftError): void {
    if (this.#isOver) return;
    this.close();
    this.#options.onFailure(error);
  }
}
