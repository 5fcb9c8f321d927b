import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FloatAdder } from './float-adder.js';
import type { Outlet } from './link.js';
import { bytesOf, reducePlan } from './pass-plan.js';
import { RingPass } from './ring-pass.js';

/** An outlet whose bytes the test carries to the next rank, as slowly and as finely cut as it likes. */
class Wagon implements Pick<Outlet, 'write'> {
  parcel: { bytes: Uint8Array; flushed: () => void } | undefined;

  write(bytes: Uint8Array, flushed: () => void): void {
    if (this.parcel !== undefined) throw new Error('two writes at a time');
    this.parcel = { bytes, flushed };
  }

  /** Hands over up to `limit` bytes; says whether any moved. */
  unload(pass: RingPass, header: { rest: number }, limit: number): boolean {
    if (this.parcel === undefined) return false;
    const { bytes, flushed } = this.parcel;
    let count = Math.min(limit, bytes.length);
    if (header.rest > 0) {
      count = Math.min(count, header.rest);
      header.rest -= count;
    } else {
      const target = pass.target();
      if (target === undefined) throw new Error('bytes without a place');
      count = Math.min(count, target.length);
      target.set(bytes.subarray(0, count));
      pass.landed(count);
    }
    if (count < bytes.length) this.parcel = { bytes: bytes.subarray(count), flushed };
    else {
      this.parcel = undefined;
      flushed();
    }
    return count > 0;
  }
}

const HEADER = new Uint8Array(32);

describe('a ring pass', () => {
  it('sums whatever the pieces in which bytes arrive, and whoever is slow', () => {
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
          const wagons = values.map(() => new Wagon());
          const headers = values.map(() => ({ rest: HEADER.length }));
          const passes = values.map((own, rank) => {
            const plan = reducePlan(own, rank, worldSize, true);
            return new RingPass(HEADER, plan, wagons[rank]!, new FloatAdder(65_536));
          });
          for (const pass of passes) pass.start();
          const move = (rank: number, limit: number) => {
            const next = (rank + 1) % worldSize;
            return wagons[rank]!.unload(passes[next]!, headers[next]!, limit);
          };
          for (const { rank, limit } of moves) if (rank < worldSize) move(rank, limit);
          for (let moved = true; moved; ) moved = passes.map((_, rank) => move(rank, 1000)).some(Boolean);
          for (const pass of passes) expect([pass.receivedAll, pass.sentAll]).toEqual([true, true]);
          for (const own of values) expect(own).toEqual(expected);
        },
      ),
    );
  });

  it('names no target and moves nothing after it was stopped', () => {
    const values = new Float32Array(8);
    const wagon = new Wagon();
    const pass = new RingPass(HEADER, reducePlan(values, 0, 2, true), wagon, new FloatAdder(65_536));
    pass.start();
    pass.stop();
    expect(pass.target()).toBeUndefined();
    wagon.parcel?.flushed();
    expect(pass.bytesSent).toBe(HEADER.length);
  });
});

describe('the adder', () => {
  it('rounds each sum to float32, as one addition does', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.float(), fc.float()), { maxLength: 70 }), (pairs) => {
        const adder = new FloatAdder(65_536);
        const target = Float32Array.from(pairs, ([a]) => a);
        adder.staging.set(bytesOf(Float32Array.from(pairs, ([, b]) => b)));
        adder.addTo(target, pairs.length);
        expect(target).toEqual(Float32Array.from(pairs, ([a, b]) => Math.fround(a + b)));
      }),
    );
  });
});
