import type { WeftError } from '@weft/common';
import type { Outlet } from '../link.js';
import { bytesOf } from '../pass-plan.js';
import { roundToBf16 } from './bf16.js';
import { encodeMessageHeader, type MessageHeader } from './message-header.js';
import { type BlockShape, travellingParts } from './row-counts.js';

const MAX_TEXT_LENGTH = 1000;

/** Writes messages to one connection and counts their bytes. */
export class MessageWriter {
  bytesSent = 0;
  readonly #outlet: Outlet;
  #arraysUnderWay = 0;

  constructor(outlet: Outlet) {
    this.#outlet = outlet;
  }

  /** Whether no caller's array is being read. */
  get isIdle(): boolean {
    return this.#arraysUnderWay === 0;
  }

  /** Resolves when the block's memory may be used again; fp32 rows are sent from it without a copy. */
  rows(
    header: Omit<MessageHeader, 'content' | 'payloadBytes'>,
    block_ECD: Float32Array,
    filled_EG: Int32Array,
    shape: BlockShape,
  ): Promise<void> {
    const parts = travellingParts(block_ECD, filled_EG, shape);
    const bodies = header.precision === 'fp32' ? parts.map(bytesOf) : parts.map(asBf16);
    const payloadBytes = filled_EG.byteLength + bodies.reduce((sum, { length }) => sum + length, 0);
    const head = encodeMessageHeader({ ...header, content: 'rows', payloadBytes });
    this.#arraysUnderWay++;
    return this.#write([Buffer.concat([head, bytesOf(filled_EG)]), ...bodies]).then(() => {
      this.#arraysUnderWay--;
    });
  }

  squaredNorm(header: Omit<MessageHeader, 'content' | 'payloadBytes'>, value?: number): void {
    const payload = Buffer.alloc(value === undefined ? 0 : 8);
    if (value !== undefined) payload.writeDoubleLE(value);
    const head = encodeMessageHeader({ ...header, content: 'squaredNorm', payloadBytes: payload.length });
    void this.#write([Buffer.concat([head, payload])]);
  }

  /** Says why this end gives up. */
  fault(header: Omit<MessageHeader, 'content' | 'payloadBytes'>, { code, message, cure }: WeftError): void {
    const short = { code, message: message.slice(0, MAX_TEXT_LENGTH), cure: cure?.slice(0, MAX_TEXT_LENGTH) };
    const payload = Buffer.from(JSON.stringify(short));
    const head = encodeMessageHeader({ ...header, content: 'fault', payloadBytes: payload.length });
    void this.#write([Buffer.concat([head, payload])]);
  }

  #write(pieces: readonly Uint8Array[]): Promise<void> {
    return new Promise((flushed) => {
      for (const [index, piece] of pieces.entries()) {
        this.bytesSent += piece.length;
        this.#outlet.write(piece, index === pieces.length - 1 ? flushed : () => {});
      }
    });
  }
}

function asBf16(part: Float32Array): Uint8Array {
  const rounded = new Uint16Array(part.length);
  roundToBf16(part, rounded);
  return bytesOf(rounded);
}
