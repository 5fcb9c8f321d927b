import { type ErrorCode, WeftError } from '@weft/common';
import type { Sink } from '../link.js';
import { bytesOf } from '../pass-plan.js';
import { widenBf16 } from './bf16.js';
import { decodeMessageHeader, MESSAGE_HEADER_BYTES, type MessageHeader } from './message-header.js';
import { type BlockShape, clearTheRest, roomsOf, travellingParts } from './row-counts.js';

const MAX_FAULT_BYTES = 16_384;
/** Where bytes go that nobody wants any more: a connection that is not read does not notice its end. */
const DRAIN = new Uint8Array(65_536);
const TRAVELLING_CODES: readonly ErrorCode[] = [
  'invalid_argument',
  'corrupt_data',
  'failed_precondition',
  'unavailable',
  'deadline_exceeded',
  'internal',
];

/** Whoever a reader reads for. What it throws reaches `failed`. */
export interface Receiver {
  /** Where the rows of this message shall land; called once its header was found to fit `shape`. */
  place(header: MessageHeader): Float32Array;
  /** All rows of a message are in their place, zeros in the rest. */
  rows(header: MessageHeader, block_ECD: Float32Array, filled_EG: Int32Array): void;
  /** @param value undefined in a question. */
  squaredNorm(header: MessageHeader, value: number | undefined): void;
  /** The other end gave up, or sent what cannot be. Nothing is read any more. */
  failed(error: WeftError): void;
  /** Whether another message may begin; when that changes, the wire must be pulled again. */
  readonly isReady: boolean;
}

/** What one connection may carry. */
export interface Expectation {
  readonly generation: number;
  readonly isAnswer: boolean;
  readonly shape: BlockShape;
  readonly precision: MessageHeader['precision'];
}

type Stage =
  | { readonly name: 'header' | 'text' | 'norm' | 'counts'; readonly bytes: Buffer }
  | { readonly name: 'rows'; readonly targets: readonly Uint8Array[]; readonly finish: () => void };

/** Takes messages from one connection; every size is checked before memory is taken or touched. */
export class MessageReader implements Sink {
  bytesReceived = 0;
  readonly #expected: Expectation;
  readonly #receiver: Receiver;
  #stage: Stage = { name: 'header', bytes: Buffer.alloc(MESSAGE_HEADER_BYTES) };
  #header: MessageHeader | undefined;
  /** The target of a stage in hand and the bytes of it that have landed. */
  #target = 0;
  #filled = 0;
  #isOver = false;

  constructor(expected: Expectation, receiver: Receiver) {
    this.#expected = expected;
    this.#receiver = receiver;
  }

  target(): Uint8Array | undefined {
    if (this.#isOver) return DRAIN;
    const isBetween = this.#stage.name === 'header' && this.#filled === 0;
    if (isBetween && !this.#receiver.isReady) return undefined;
    return this.#current().subarray(this.#filled);
  }

  landed(bytes: number): void {
    if (this.#isOver) return;
    this.bytesReceived += bytes;
    this.#filled += bytes;
    try {
      while (!this.#isOver && this.#filled === this.#current().length) this.#next();
    } catch (thrown) {
      this.stop();
      this.#receiver.failed(WeftError.from(thrown));
    }
  }

  /** Touches no memory of the receiver's from now on. */
  stop(): void {
    this.#isOver = true;
  }

  #current(): Uint8Array {
    return this.#stage.name === 'rows' ? this.#stage.targets[this.#target]! : this.#stage.bytes;
  }

  /** The target in hand is full. */
  #next(): void {
    const stage = this.#stage;
    this.#filled = 0;
    if (stage.name === 'header') this.#begin(decodeMessageHeader(stage.bytes));
    if (stage.name === 'counts') this.#beginRows(this.#header!, stage.bytes);
    if (stage.name === 'rows' && ++this.#target === stage.targets.length) stage.finish();
    if (stage.name === 'norm') this.#norm(this.#header!, stage.bytes);
    if (stage.name === 'text') throw faultOf(stage.bytes);
  }

  #norm(header: MessageHeader, bytes: Buffer): void {
    this.#await();
    this.#receiver.squaredNorm(header, bytes.length === 0 ? undefined : bytes.readDoubleLE(0));
  }

  #begin(header: MessageHeader): void {
    this.#header = header;
    const { content, payloadBytes } = header;
    if (content === 'fault') {
      if (payloadBytes > MAX_FAULT_BYTES) throw corrupt(`a notice of ${payloadBytes} bytes`);
      this.#stage = { name: 'text', bytes: Buffer.alloc(payloadBytes) };
      return;
    }
    this.#check(header);
    if (content === 'squaredNorm') this.#stage = { name: 'norm', bytes: Buffer.alloc(payloadBytes) };
    else this.#stage = { name: 'counts', bytes: Buffer.alloc(roomsOf(this.#expected.shape) * 4) };
  }

  #check(header: MessageHeader): void {
    const { generation, isAnswer, precision, shape } = this.#expected;
    if (header.generation !== generation)
      throw corrupt(`a message of generation ${header.generation} in generation ${generation}`);
    if (header.isAnswer !== isAnswer)
      throw corrupt(isAnswer ? 'a question to a rank' : 'an answer to an expert worker');
    if (header.content === 'squaredNorm') {
      if (header.payloadBytes !== (isAnswer ? 8 : 0)) throw corrupt(`a norm of ${header.payloadBytes} bytes`);
      return;
    }
    const { firstExpert, experts, groups, width } = shape;
    const isSame = header.firstExpert === firstExpert && header.experts === experts;
    if (!isSame || header.groups !== groups || header.width !== width)
      throw new WeftError('invalid_argument', `rows of ${span(header)}, where ${span(shape)} are expected`, {
        cure: 'report this: rank and expert worker hold different placements',
      });
    if (header.precision !== precision) throw corrupt(`rows in ${header.precision} instead of ${precision}`);
  }

  #beginRows(header: MessageHeader, bytes: Buffer): void {
    const { shape, precision } = this.#expected;
    const filled_EG = Int32Array.from({ length: roomsOf(shape) }, (_, room) => bytes.readInt32LE(room * 4));
    const wrong = filled_EG.find((rows) => rows < 0 || rows > shape.capacity);
    if (wrong !== undefined) throw corrupt(`${wrong} rows for an expert with room for ${shape.capacity}`);
    const values = filled_EG.reduce((sum, rows) => sum + rows, 0) * shape.width;
    const valueBytes = values * (precision === 'fp32' ? 4 : 2);
    if (header.payloadBytes !== bytes.length + valueBytes)
      throw corrupt(`rows of ${header.payloadBytes - bytes.length} bytes where their counts say ${valueBytes}`);
    const block = this.#receiver.place(header);
    clearTheRest(block, filled_EG, shape);
    const parts = travellingParts(block, filled_EG, shape);
    const rounded = precision === 'fp32' ? undefined : parts.map((part) => new Uint16Array(part.length));
    const finish = () => {
      for (const [index, part] of parts.entries()) if (rounded !== undefined) widenBf16(rounded[index]!, part);
      this.#await();
      this.#receiver.rows(header, block, filled_EG);
    };
    this.#target = 0;
    if (parts.length > 0) this.#stage = { name: 'rows', targets: (rounded ?? parts).map(bytesOf), finish };
    else finish();
  }

  #await(): void {
    this.#stage = { name: 'header', bytes: Buffer.alloc(MESSAGE_HEADER_BYTES) };
    this.#filled = 0;
  }
}

function span({ firstExpert, experts, groups, width }: Omit<BlockShape, 'capacity'>): string {
  return `experts ${firstExpert} to ${firstExpert + experts - 1} in ${groups} groups, ${width} wide`;
}

function corrupt(what: string): WeftError {
  return new WeftError('corrupt_data', `${what} cannot be`);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function faultOf(bytes: Buffer): WeftError {
  const body = parsed(bytes.toString('utf8'));
  if (typeof body !== 'object' || body === null || !('message' in body) || typeof body.message !== 'string')
    throw corrupt('a notice without a message');
  const code = TRAVELLING_CODES.find((known) => 'code' in body && body.code === known) ?? 'unavailable';
  const cure = 'cure' in body && typeof body.cure === 'string' ? { cure: body.cure } : {};
  return new WeftError(code, body.message, cure);
}
