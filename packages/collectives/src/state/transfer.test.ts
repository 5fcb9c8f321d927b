import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DataPlane } from '../data-plane.js';
import type { StateShare } from './transfer.js';

const SHARE_BYTES = 3_000_000;

let planes: DataPlane[];
beforeEach(async () => {
  planes = await Promise.all([1, 2, 3, 4].map(() => DataPlane.listen()));
});
afterEach(async () => {
  await Promise.all(planes.map((plane) => plane.close()));
});

/** Ranks 0 and 2 hold the state, ranks 1 and 3 join. */
function optionsOf(rank: number, signal?: AbortSignal) {
  const addresses = planes.map(({ address }) => address);
  return { runId: 'r', generation: 7, rank, addresses, newcomers: [1, 3], token: 't', timeoutMs: 20_000, signal };
}

async function* inChunks(bytes: Uint8Array, chunkBytes = 70_000) {
  for (let from = 0; from < bytes.length; from += chunkBytes) yield bytes.subarray(from, from + chunkBytes);
}

async function readAll(shares: readonly StateShare[]): Promise<Buffer[]> {
  return Promise.all(
    shares.map(async (share) => {
      const parts = [Buffer.alloc(1000), Buffer.alloc(SHARE_BYTES - 1000)];
      for (const part of parts) await share.read(part);
      await share.end();
      return Buffer.concat(parts);
    }),
  );
}

describe('the state of a run', () => {
  it('comes to every newcomer in the shares of all holders, by rank', async () => {
    const shares = [randomBytes(SHARE_BYTES), randomBytes(SHARE_BYTES)];
    const sending = [0, 2].map((rank, i) => planes[rank]!.sendState(optionsOf(rank), inChunks(shares[i]!)));
    const received = await Promise.all(
      [1, 3].map(async (rank) => readAll(await planes[rank]!.receiveState(optionsOf(rank)))),
    );
    await Promise.all(sending);
    for (const each of received) expect(each.map((share, i) => share.equals(shares[i]!))).toEqual([true, true]);
  });

  it('is refused when it arrived damaged', async () => {
    const bytes = Buffer.alloc(SHARE_BYTES);
    const sending = [0, 2].map((rank) => planes[rank]!.sendState(optionsOf(rank), inChunks(bytes)));
    const newcomers = [1, 3].map(async (rank) => planes[rank]!.receiveState(optionsOf(rank)));
    const [[first, second]] = [await newcomers[0]!];
    const others = newcomers[1]!.then(readAll);
    // A byte less is read, so that the digest is read one byte too early.
    await first!.read(Buffer.alloc(SHARE_BYTES - 1));
    await expect(first!.end()).rejects.toMatchObject({
      code: 'corrupt_data',
      message: 'the share of rank 0 of the state of run r, generation 7 arrived damaged',
    });
    await second!.read(Buffer.alloc(SHARE_BYTES));
    await second!.end();
    await Promise.all([others, ...sending.map((each) => each.catch(() => {}))]);
  });

  it('does not come when a holder is gone, which is named', async () => {
    const stop = new AbortController();
    async function* endless() {
      for (;;) yield new Uint8Array(10_000);
    }
    const sending = [0, 2].map((rank) => planes[rank]!.sendState(optionsOf(rank, stop.signal), endless()));
    const shares = await Promise.all([1, 3].map((rank) => planes[rank]!.receiveState(optionsOf(rank))));
    await shares[0]![0]!.read(Buffer.alloc(100_000));
    stop.abort();
    await Promise.all(sending.map((each) => expect(each).rejects.toMatchObject({ code: 'cancelled' })));
    await expect(shares[0]![1]!.read(Buffer.alloc(2 ** 27))).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('rank 2 of run r, generation 7 is gone: its share of the state is not complete'),
    });
  });

  it('is sent to the others only as long as every newcomer is there', async () => {
    async function* endless() {
      for (;;) yield new Uint8Array(10_000);
    }
    const stop = new AbortController();
    const sending = planes[0]!.sendState(optionsOf(0), endless());
    const other = planes[2]!.sendState(optionsOf(2, stop.signal), endless());
    const shares = await Promise.all([1, 3].map((rank) => planes[rank]!.receiveState(optionsOf(rank))));
    shares[1]![0]!.close();
    await expect(sending).rejects.toMatchObject({ code: 'unavailable', message: expect.stringContaining('rank 3') });
    stop.abort();
    await expect(other).rejects.toMatchObject({ code: 'cancelled' });
    for (const share of shares.flat()) share.close();
  });

  it('is not given to a rank that is no newcomer', async () => {
    const stop = new AbortController();
    const sending = planes[0]!.sendState(optionsOf(0, stop.signal), inChunks(new Uint8Array(0)));
    const stranger = { ...optionsOf(2), newcomers: [1, 2, 3] };
    await expect(planes[2]!.receiveState(stranger)).rejects.toMatchObject({
      code: 'invalid_argument',
      message: expect.stringContaining(
        'rank 2 asks for the state of run r, generation 7 at rank 0, but is no newcomer',
      ),
    });
    stop.abort();
    await expect(sending).rejects.toMatchObject({ code: 'cancelled' });
  });
});

describe('whether a data plane can be reached', () => {
  it('is told by the kernel of its host', async () => {
    const [here, gone] = planes;
    await gone!.close();
    expect(await here!.findUnreachable([planes[2]!.address, gone!.address])).toEqual([gone!.address]);
  });
});
