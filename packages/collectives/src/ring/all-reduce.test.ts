import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Sender } from '../transport/duplex.js';
import { SimdAccumulator } from '../transport/simd-accumulator.js';
import { RingOperation, reduceSchedule } from './all-reduce.js';

/** Holds a rank's bytes until the test delivers them to the next rank, as late and in as small chunks as it likes. */
class TestSender implements Pick<Sender, 'write'> {
  pending: { bytes: Uint8Array; flushed: () => void } | undefined;

  write(bytes: Uint8Array, flushed: () => void): void {
    if (this.pending !== undefined) throw new Error('two writes at a time');
    this.pending = { bytes, flushed };
  }

  /** Delivers up to `limit` bytes; returns whether any moved. */
  deliver(operation: RingOperation, header: { rest: number }, limit: number): boolean {
    if (this.pending === undefined) return false;
    const { bytes, flushed } = this.pending;
    let count = Math.min(limit, bytes.length);
    if (header.rest > 0) {
      count = Math.min(count, header.rest);
      header.rest -= count;
    } else {
      const target = operation.target();
      if (target === undefined) throw new Error('bytes without a target');
      count = Math.min(count, target.length);
      target.set(bytes.subarray(0, count));
      operation.onBytes(count);
    }
    if (count < bytes.length) this.pending = { bytes: bytes.subarray(count), flushed };
    else {
      this.pending = undefined;
      flushed();
    }
    return count > 0;
  }
}

const HEADER = new Uint8Array(32);

describe('a ring operation', () => {
  it('sums in whatever chunks bytes arrive, and whichever rank is slow', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 2, max: 5 }),
        fc.nat(70),
        fc.array(fc.record({ rank: fc.nat(4), limit: fc.integer({ min: 1, max: 23 }) }), { maxLength: 400 }),
        (worldSize, length, moves) => {
          const values = Array.from({ length: worldSize }, (_, rank) =>
            Float32Array.from({ length }, (_, i) => (rank + 1) * (i + 0.5)),
          );
          const expected = Float32Array.from({ length }, (_, i) => values.reduce((sum, own) => sum + own[i]!, 0));
          const senders = values.map(() => new TestSender());
          const headers = values.map(() => ({ rest: HEADER.length }));
          const operations = values.map((own, rank) => {
            const schedule = reduceSchedule(own, rank, worldSize, true);
            return new RingOperation(HEADER, schedule, senders[rank]!, new SimdAccumulator(65_536));
          });
          for (const operation of operations) operation.start();
          const move = (rank: number, limit: number) => {
            const next = (rank + 1) % worldSize;
            return senders[rank]!.deliver(operations[next]!, headers[next]!, limit);
          };
          for (const { rank, limit } of moves) if (rank < worldSize) move(rank, limit);
          for (let moved = true; moved; ) moved = operations.map((_, rank) => move(rank, 1000)).some(Boolean);
          for (const operation of operations) expect([operation.receivedAll, operation.sentAll]).toEqual([true, true]);
          for (const own of values) expect(own).toEqual(expected);
        },
      ),
    );
  });

  it('names no target and moves nothing after it was stopped', () => {
    const values = new Float32Array(8);
    const sender = new TestSender();
    const operation = new RingOperation(
      HEADER,
      reduceSchedule(values, 0, 2, true),
      sender,
      new SimdAccumulator(65_536),
    );
    operation.start();
    operation.stop();
    expect(operation.target()).toBeUndefined();
    sender.pending?.flushed();
    expect(operation.bytesSent).toBe(HEADER.length);
  });
});
