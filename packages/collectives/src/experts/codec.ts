import { type ErrorCode, refuse, WeftError } from '@weft/common';
import { asBytes, type Sender } from '../transport/duplex.js';
import { parseJson } from '../transport/frame.js';
import { DIRECTIONS, type Direction, EXCHANGE_PRECISIONS, type ExchangePrecision } from './exchange.js';
import { type ExpertShard, packedRows } from './expert-shard.js';

/**
 * `rows`, `deviceRows` and `squaredNorm` are requests and answers; the rows of `deviceRows` go from device to device, and the
 * message brings their numbers. A `fault` carries the reason why its sender gives up. `devices` tell what a process has.
 */
const CONTENTS = ['rows', 'squaredNorm', 'fault', 'deviceRows', 'devices'] as const;

/** Precedes every message of the exchange. Fields that do not apply are 0, `forward` and `fp32`. */
export interface MessageHeader {
  readonly content: (typeof CONTENTS)[number];
  readonly isAnswer: boolean;
  readonly direction: Direction;
  readonly precision: ExchangePrecision;
  readonly generation: number;
  readonly step: number;
  readonly microbatch: number;
  readonly layer: number;
  readonly firstExpert: number;
  readonly experts: number;
  /** Before the rows, their number is sent for each expert and group, 4 bytes each. */
  readonly groups: number;
  readonly width: number;
  /** Of everything that follows the header. */
  readonly payloadBytes: number;
}

/** The header of a message without what its content implies. */
export type MessageContext = Omit<MessageHeader, 'content' | 'payloadBytes'>;

/** Length of the header of every message. */
export const MESSAGE_HEADER_BYTES = 48;
const MAGIC = 0x47484358; // "XCHG"

/** Little-endian; the offsets are below. */
export function encodeMessageHeader(header: MessageHeader): Buffer {
  const bytes = Buffer.alloc(MESSAGE_HEADER_BYTES);
  bytes.writeUInt32LE(MAGIC, 0);
  bytes.writeUInt8(CONTENTS.indexOf(header.content), 4);
  bytes.writeUInt8(header.isAnswer ? 1 : 0, 5);
  bytes.writeUInt8(DIRECTIONS.indexOf(header.direction), 6);
  bytes.writeUInt8(EXCHANGE_PRECISIONS.indexOf(header.precision), 7);
  bytes.writeUInt32LE(header.generation, 8);
  bytes.writeUInt32LE(header.step, 12);
  bytes.writeUInt32LE(header.microbatch, 16);
  bytes.writeUInt32LE(header.layer, 20);
  bytes.writeUInt32LE(header.firstExpert, 24);
  bytes.writeUInt32LE(header.experts, 28);
  bytes.writeUInt32LE(header.groups, 32);
  bytes.writeUInt32LE(header.width, 36);
  bytes.writeDoubleLE(header.payloadBytes, 40);
  return bytes;
}

/** @throws WeftError `corrupt_data` for bytes that begin no message. */
export function decodeMessageHeader(bytes: Buffer): MessageHeader {
  const content = CONTENTS[bytes.readUInt8(4)];
  const direction = DIRECTIONS[bytes.readUInt8(6)];
  const precision = EXCHANGE_PRECISIONS[bytes.readUInt8(7)];
  const payloadBytes = bytes.readDoubleLE(40);
  const isWhole = Number.isSafeInteger(payloadBytes) && payloadBytes >= 0;
  if (bytes.readUInt32LE(0) !== MAGIC || !content || !direction || !precision || !isWhole)
    return refuse('corrupt_data', 'bytes that begin no message of the expert exchange');
  return {
    content,
    isAnswer: bytes.readUInt8(5) === 1,
    direction,
    precision,
    generation: bytes.readUInt32LE(8),
    step: bytes.readUInt32LE(12),
    microbatch: bytes.readUInt32LE(16),
    layer: bytes.readUInt32LE(20),
    firstExpert: bytes.readUInt32LE(24),
    experts: bytes.readUInt32LE(28),
    groups: bytes.readUInt32LE(32),
    width: bytes.readUInt32LE(36),
    payloadBytes,
  };
}

const ROWS: Readonly<Record<Direction, string>> = {
  forward: 'tokens',
  backward: 'output gradients',
  evaluate: 'held-out tokens',
};

/** What identifies a request among those of one connection. */
export type RequestKey = Pick<MessageHeader, 'content' | 'direction' | 'step' | 'microbatch' | 'layer'>;

/** "the tokens of step 5, microbatch 1, layer 2", for messages. */
export function describeRequest({ content, direction, step, microbatch, layer }: RequestKey): string {
  if (content === 'devices') return 'what its devices can exchange';
  if (content === 'squaredNorm') return `the gradient norm of step ${step}`;
  return `the ${ROWS[direction]} of step ${step}, microbatch ${microbatch}, layer ${layer}`;
}

/** Writes messages to one connection and counts their bytes. */
export class MessageWriter {
  bytesSent = 0;
  readonly #sender: Sender;
  #pendingRows = 0;

  constructor(sender: Sender) {
    this.#sender = sender;
  }

  /** Whether no caller's array is being read. */
  get isIdle(): boolean {
    return this.#pendingRows === 0;
  }

  /** Resolves when the block's memory may be reused; fp32 rows are sent from it without a copy. */
  rows(
    context: MessageContext,
    block_ECD: Float32Array,
    tokensPerExpert_EG: Int32Array,
    shard: ExpertShard,
  ): Promise<void> {
    const parts = packedRows(block_ECD, tokensPerExpert_EG, shard);
    const bodies = context.precision === 'fp32' ? parts.map(asBytes) : parts.map(toBf16);
    const payloadBytes = tokensPerExpert_EG.byteLength + bodies.reduce((sum, { length }) => sum + length, 0);
    const header = encodeMessageHeader({ ...context, content: 'rows', payloadBytes });
    this.#pendingRows++;
    return this.#write([Buffer.concat([header, asBytes(tokensPerExpert_EG)]), ...bodies]).then(() => {
      this.#pendingRows--;
    });
  }

  /** The numbers of rows that go from device to device. */
  deviceRows(context: MessageContext, tokensPerExpert_EG: Int32Array): void {
    const counts = asBytes(tokensPerExpert_EG);
    const header = encodeMessageHeader({ ...context, content: 'deviceRows', payloadBytes: counts.length });
    void this.#write([Buffer.concat([header, counts])]);
  }

  /** What a process has, or decides, as JSON. */
  devices(context: MessageContext, text: string): void {
    const payload = Buffer.from(text);
    const header = encodeMessageHeader({ ...context, content: 'devices', payloadBytes: payload.length });
    void this.#write([Buffer.concat([header, payload])]);
  }

  /** @param value the answer; `undefined` for the request */
  squaredNorm(context: MessageContext, value?: number): void {
    const payload = Buffer.alloc(value === undefined ? 0 : 8);
    if (value !== undefined) payload.writeDoubleLE(value);
    const header = encodeMessageHeader({ ...context, content: 'squaredNorm', payloadBytes: payload.length });
    void this.#write([Buffer.concat([header, payload])]);
  }

  /** Says why this end gives up. */
  fault(context: MessageContext, error: WeftError): void {
    const payload = encodeFault(error);
    const header = encodeMessageHeader({ ...context, content: 'fault', payloadBytes: payload.length });
    void this.#write([Buffer.concat([header, payload])]);
  }

  #write(chunks: readonly Uint8Array[]): Promise<void> {
    return new Promise((flushed) => {
      for (const [index, chunk] of chunks.entries()) {
        this.bytesSent += chunk.length;
        this.#sender.write(chunk, index === chunks.length - 1 ? flushed : () => {});
      }
    });
  }
}

function toBf16(values: Float32Array): Uint8Array {
  const rounded = new Uint16Array(values.length);
  roundToBf16(values, rounded);
  return asBytes(rounded);
}

/** fp32 → bf16, to nearest even, as TensorFlow casts. */
function roundToBf16(values: Float32Array, target: Uint16Array): void {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  for (let i = 0; i < bits.length; i++) {
    const word = bits[i]!;
    const isNotANumber = (word & 0x7fffffff) > 0x7f800000;
    target[i] = isNotANumber ? (word >>> 16) | 0x40 : (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
  }
}

/** bf16 → fp32, exactly. */
export function widenBf16(source: Uint16Array, values: Float32Array): void {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  for (let i = 0; i < source.length; i++) bits[i] = source[i]! << 16;
}

/** Codes that a fault may carry; any other one counts as `unavailable`. */
const FAULT_CODES: readonly ErrorCode[] = [
  'invalid_argument',
  'corrupt_data',
  'failed_precondition',
  'unavailable',
  'deadline_exceeded',
  'internal',
];
const MAX_TEXT_LENGTH = 1000;

function encodeFault({ code, message, hint }: WeftError): Buffer {
  const short = { code, message: message.slice(0, MAX_TEXT_LENGTH), hint: hint?.slice(0, MAX_TEXT_LENGTH) };
  return Buffer.from(JSON.stringify(short));
}

/** @throws WeftError `corrupt_data` for a payload that is no fault. */
export function decodeFault(payload: Buffer): WeftError {
  const body = parseJson(payload.toString('utf8'));
  if (typeof body !== 'object' || body === null || !('message' in body) || typeof body.message !== 'string')
    return refuse('corrupt_data', 'invalid message: a fault without a message');
  const code = FAULT_CODES.find((known) => 'code' in body && body.code === known) ?? 'unavailable';
  const hint = 'hint' in body && typeof body.hint === 'string' ? { hint: body.hint } : {};
  return new WeftError(code, body.message, hint);
}
