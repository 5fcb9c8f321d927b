import type { WeftError } from '@weft/common';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { asBytes } from '../transport/duplex.js';
import { encodeMessageHeader, MESSAGE_HEADER_BYTES } from './codec.js';
import { blockLength, type ExpertShard, listCount, packedRows } from './expert-shard.js';
import { MessageReader } from './message-reader.js';

const shard: ExpertShard = { firstExpert: 0, experts: 3, groups: 2, capacity: 2, width: 3 };
const MAX_TARGET_BYTES = 16_384;

/** Reads bytes as an expert worker does, in chunks of the given sizes. */
function read(bytes: Uint8Array, chunks: readonly number[]) {
  let [blocks, messages, largest] = [0, 0, 0];
  let error: WeftError | undefined;
  const reader = new MessageReader(
    { generation: 1, isAnswer: false, shard: shard, precision: 'fp32' },
    {
      blockFor: () => {
        blocks++;
        return new Float32Array(blockLength(shard));
      },
      onRows: () => {
        messages++;
      },
      onSquaredNorm: () => {
        messages++;
      },
      onDeviceRows: () => {
        messages++;
      },
      onDevices: () => {
        messages++;
      },
      onFailure: (thrown) => {
        error ??= thrown;
      },
      isReady: true,
    },
  );
  for (let at = 0, read = 0; at < bytes.length && error === undefined; read++) {
    const target = reader.target()!;
    largest = Math.max(largest, target.length);
    const count = Math.min(target.length, bytes.length - at, chunks[read % chunks.length]!);
    target.set(bytes.subarray(at, at + count));
    reader.onBytes(count);
    at += count;
  }
  return { blocks, messages, largest, error };
}

const chunks = fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 5 });
const lists = listCount(shard);
const rows = fc
  .array(fc.integer({ min: 0, max: shard.capacity }), { minLength: lists, maxLength: lists })
  .map((counts) => {
    const tokensPerExpert_EG = Int32Array.from(counts);
    const parts = packedRows(new Float32Array(blockLength(shard)).fill(1), tokensPerExpert_EG, shard).map(asBytes);
    const body = Buffer.concat([asBytes(tokensPerExpert_EG), ...parts]);
    const { capacity: _, ...block } = shard;
    const context = {
      content: 'rows',
      isAnswer: false,
      direction: 'forward',
      precision: 'fp32',
      generation: 1,
    } as const;
    const header = { ...context, step: 1, microbatch: 0, layer: 1, ...block, payloadBytes: body.length };
    return Buffer.concat([encodeMessageHeader(header), body]);
  });

describe('bytes from a connection', () => {
  it('are messages, in whatever chunks they arrive', () => {
    fc.assert(
      fc.property(fc.array(rows, { maxLength: 4 }), chunks, (messages, sizes) => {
        expect(read(Buffer.concat(messages), sizes)).toMatchObject({ error: undefined, messages: messages.length });
      }),
    );
  });

  it('that are no message are refused before memory is allocated', () => {
    const damage = fc.tuple(fc.nat(MESSAGE_HEADER_BYTES + 4 * lists), fc.integer({ min: 0, max: 255 }));
    const damaged = fc.tuple(rows, fc.array(damage, { minLength: 1, maxLength: 6 })).map(([bytes, changes]) => {
      for (const [at, value] of changes) bytes[at] = value;
      return bytes;
    });
    const noise = fc.uint8Array({ minLength: MESSAGE_HEADER_BYTES, maxLength: 400 });
    fc.assert(
      fc.property(fc.oneof(damaged, noise), chunks, (bytes, sizes) => {
        const { blocks, messages, largest, error } = read(bytes, sizes);
        if (error !== undefined) expect(['corrupt_data', 'invalid_argument']).toContain(error.code);
        expect(blocks).toBeLessThanOrEqual(messages + 1);
        expect(largest).toBeLessThanOrEqual(MAX_TARGET_BYTES);
      }),
      { numRuns: 1000 },
    );
  });

  it('say why the other end gives up only where they can be read', () => {
    const { capacity: _, ...block } = shard;
    const context = { isAnswer: false, direction: 'forward', precision: 'fp32', generation: 1, step: 0 } as const;
    const fault = (text: string) => {
      const body = Buffer.from(text);
      const header = {
        content: 'fault',
        ...context,
        microbatch: 0,
        layer: 0,
        ...block,
        payloadBytes: body.length,
      } as const;
      return read(Buffer.concat([encodeMessageHeader(header), body]), [1000]).error;
    };
    expect(fault('{"code":"internal","message":"no memory"}')).toMatchObject({
      code: 'internal',
      message: 'no memory',
    });
    for (const text of ['', '{', '[]', '{"message":3}'])
      expect(fault(text)).toMatchObject({
        code: 'corrupt_data',
        message: 'invalid message: a fault without a message',
      });
  });
});
