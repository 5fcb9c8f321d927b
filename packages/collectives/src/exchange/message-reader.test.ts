import type { WeftError } from '@weft/common';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bytesOf } from '../pass-plan.js';
import { encodeMessageHeader, MESSAGE_HEADER_BYTES } from './message-header.js';
import { MessageReader } from './message-reader.js';
import { type BlockShape, blockLength, roomsOf, travellingParts } from './row-counts.js';

const shape: BlockShape = { firstExpert: 0, experts: 3, groups: 2, capacity: 2, width: 3 };
const MOST_BYTES = 16_384;

/** What an expert worker's reader makes of bytes that land in pieces of such sizes. */
function read(bytes: Uint8Array, pieces: readonly number[]) {
  let [blocks, messages, largest] = [0, 0, 0];
  let error: WeftError | undefined;
  const reader = new MessageReader(
    { generation: 1, isAnswer: false, shape, precision: 'fp32' },
    {
      place: () => {
        blocks++;
        return new Float32Array(blockLength(shape));
      },
      rows: () => {
        messages++;
      },
      squaredNorm: () => {
        messages++;
      },
      failed: (thrown) => {
        error ??= thrown;
      },
      isReady: true,
    },
  );
  for (let at = 0, turn = 0; at < bytes.length && error === undefined; turn++) {
    const target = reader.target()!;
    largest = Math.max(largest, target.length);
    const count = Math.min(target.length, bytes.length - at, pieces[turn % pieces.length]!);
    target.set(bytes.subarray(at, at + count));
    reader.landed(count);
    at += count;
  }
  return { blocks, messages, largest, error };
}

const pieces = fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 5 });
const rooms = roomsOf(shape);
const rows = fc
  .array(fc.integer({ min: 0, max: shape.capacity }), { minLength: rooms, maxLength: rooms })
  .map((counts) => {
    const filled_EG = Int32Array.from(counts);
    const parts = travellingParts(new Float32Array(blockLength(shape)).fill(1), filled_EG, shape).map(bytesOf);
    const body = Buffer.concat([bytesOf(filled_EG), ...parts]);
    const { capacity: _, ...block } = shape;
    const about = { content: 'rows', isAnswer: false, direction: 'forward', precision: 'fp32', generation: 1 } as const;
    const header = { ...about, step: 1, microbatch: 0, layer: 1, ...block, payloadBytes: body.length };
    return Buffer.concat([encodeMessageHeader(header), body]);
  });

describe('bytes from a connection', () => {
  it('are messages, whatever pieces they come in', () => {
    fc.assert(
      fc.property(fc.array(rows, { maxLength: 4 }), pieces, (messages, sizes) => {
        expect(read(Buffer.concat(messages), sizes)).toMatchObject({ error: undefined, messages: messages.length });
      }),
    );
  });

  it('that are no message are refused before they take memory', () => {
    const damage = fc.tuple(fc.nat(MESSAGE_HEADER_BYTES + 4 * rooms), fc.integer({ min: 0, max: 255 }));
    const damaged = fc.tuple(rows, fc.array(damage, { minLength: 1, maxLength: 6 })).map(([bytes, changes]) => {
      for (const [at, value] of changes) bytes[at] = value;
      return bytes;
    });
    const noise = fc.uint8Array({ minLength: MESSAGE_HEADER_BYTES, maxLength: 400 });
    fc.assert(
      fc.property(fc.oneof(damaged, noise), pieces, (bytes, sizes) => {
        const { blocks, messages, largest, error } = read(bytes, sizes);
        if (error !== undefined) expect(['corrupt_data', 'invalid_argument']).toContain(error.code);
        expect(blocks).toBeLessThanOrEqual(messages + 1);
        expect(largest).toBeLessThanOrEqual(MOST_BYTES);
      }),
      { numRuns: 1000 },
    );
  });

  it('say why the other end gives up only where they can be read', () => {
    const { capacity: _, ...block } = shape;
    const about = { isAnswer: false, direction: 'forward', precision: 'fp32', generation: 1, step: 0 } as const;
    const notice = (text: string) => {
      const body = Buffer.from(text);
      const header = {
        content: 'fault',
        ...about,
        microbatch: 0,
        layer: 0,
        ...block,
        payloadBytes: body.length,
      } as const;
      return read(Buffer.concat([encodeMessageHeader(header), body]), [1000]).error;
    };
    expect(notice('{"code":"internal","message":"no memory"}')).toMatchObject({
      code: 'internal',
      message: 'no memory',
    });
    for (const text of ['', '{', '[]', '{"message":3}'])
      expect(notice(text)).toMatchObject({ code: 'corrupt_data', message: 'a notice without a message cannot be' });
  });
});
