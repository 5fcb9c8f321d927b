import { WeftError } from '@weft/common';
import { DIRECTIONS, type Direction, EXCHANGE_PRECISIONS, type ExchangePrecision } from './exchange.js';

/** `rows` and `squaredNorm` are asked and answered; a `fault` says why its sender gives up. */
const CONTENTS = ['rows', 'squaredNorm', 'fault'] as const;
export type Content = (typeof CONTENTS)[number];

/** What stands before every message of the exchange. Fields that do not apply are 0, `forward` and `fp32`. */
export interface MessageHeader {
  readonly content: Content;
  readonly isAnswer: boolean;
  readonly direction: Direction;
  readonly precision: ExchangePrecision;
  readonly generation: number;
  readonly step: number;
  readonly microbatch: number;
  readonly layer: number;
  readonly firstExpert: number;
  readonly experts: number;
  /** For each expert and group a count of rows, 4 bytes each, comes before the rows. */
  readonly groups: number;
  readonly width: number;
  /** Of all that follows the header. */
  readonly payloadBytes: number;
}

export const MESSAGE_HEADER_BYTES = 48;
const MAGIC = 0x47484358; // "XCHG"

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
    throw new WeftError('corrupt_data', 'bytes that begin no message of the expert exchange');
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

const TRAVELLERS: Readonly<Record<Direction, string>> = {
  forward: 'tokens',
  backward: 'output gradients',
  evaluate: 'held-out tokens',
};

/** "the tokens of step 5, microbatch 1, layer 2", for messages. */
export function describeSubject({
  content,
  direction,
  step,
  microbatch,
  layer,
}: Pick<MessageHeader, 'content' | 'direction' | 'step' | 'microbatch' | 'layer'>): string {
  if (content === 'squaredNorm') return `the gradient norm of step ${step}`;
  return `the ${TRAVELLERS[direction]} of step ${step}, microbatch ${microbatch}, layer ${layer}`;
}
