import { createServer, type Server } from 'node:net';
import { Random, sleep, WeftError } from '@weft/common';
import { ringChunks } from '@weft/topology';
import { afterEach, describe, expect, it } from 'vitest';
import { ConnectionAcceptor } from '../connect/accept.js';
import { localPath } from '../connect/dial.js';
import { SocketDuplex } from '../transport/socket-duplex.js';
import { connectRing } from './connect.js';
import { inMemoryLinks } from './in-memory-ring.js';
import { RingGroup } from './process-group.js';
import type { RingLinks } from './runner.js';

/** One suite over all transports: what holds within a process holds over sockets and through shared memory. */
interface Ring {
  readonly groups: readonly RingGroup[];
  /** Cuts all connections of one rank, as the end of its process does. */
  readonly crash: (rank: number) => void;
}

interface FormOptions {
  readonly signals?: readonly AbortSignal[];
}

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
});

const transports: Record<string, (worldSize: number) => Promise<readonly RingLinks[]>> = {
  memory: async (worldSize) => inMemoryLinks(worldSize),
  tcp: (worldSize) =>
    connectRanks(worldSize, false, async (server) => {
      await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
      const bound = server.address();
      return `127.0.0.1:${typeof bound === 'object' ? bound?.port : ''}`;
    }),
  ...(process.platform === 'linux' && {
    // Callers offer memory, but the server takes them for processes of another machine.
    'local sockets': (worldSize) => connectRanks(worldSize, false, listenLocally),
    'shared memory': (worldSize) => connectRanks(worldSize, true, listenLocally),
  }),
};
let localServers = 0;

async function listenLocally(server: Server): Promise<string> {
  const address = `no-such-host-${++localServers}:1`;
  await new Promise<void>((listening) => server.listen({ path: localPath(address) }, listening));
  return address;
}

/**
 * @param isLocal whether callers count as processes of this machine
 * @param open makes a server listen and returns the address at which ranks call it
 */
async function connectRanks(
  worldSize: number,
  isLocal: boolean,
  open: (server: Server) => Promise<string>,
): Promise<RingLinks[]> {
  const acceptors = Array.from({ length: worldSize }, () => new ConnectionAcceptor());
  const addresses = await Promise.all(
    acceptors.map(async (acceptor) => {
      const server = createServer((socket) => void acceptor.handle(SocketDuplex.accepted(socket), isLocal));
      const address = await open(server);
      cleanups.push(() => new Promise((closed) => server.close(closed)));
      return address;
    }),
  );
  return Promise.all(
    acceptors.map((acceptor, rank) => {
      const rankId = { runId: 'conformance', generation: 1, rank, worldSize };
      return connectRing({ rankId, token: 'token', addresses, acceptor, timeoutMs: 15_000 });
    }),
  );
}

describe.each(Object.entries(transports))('a ring over %s', (_, connect) => {
  async function form(worldSize: number, { signals = [] }: FormOptions = {}): Promise<Ring> {
    const links = worldSize === 1 ? [undefined] : await connect(worldSize);
    const groups = links.map((own, rank) => {
      const rankId = { runId: 'conformance', generation: 1, rank, worldSize };
      return new RingGroup(rankId, own, { signal: signals[rank] });
    });
    // Before the servers close, which wait for the connections.
    cleanups.unshift(() => Promise.all(groups.map((group) => group.close())));
    const crash = (rank: number) => {
      const { data, control } = links[rank]!;
      for (const end of [data.previous, data.next, control.previous, control.next]) end.destroy();
    };
    return { groups, crash };
  }

  it.each([1, 2, 3, 4, 5])('sums over %i ranks, bit for bit as the order of additions says', async (worldSize) => {
    const { groups } = await form(worldSize);
    for (const length of [0, 1, worldSize - 1, worldSize, 7, 1000, 400_003]) {
      const inputs = groups.map(({ rank }) => randomValues(length, rank));
      const values = inputs.map((input) => input.slice());
      await Promise.all(groups.map((group, rank) => group.allReduceSum(values[rank]!)));
      const expected = bits(ringSum(inputs));
      for (const value of values) expect(bits(value).equals(expected)).toBe(true);
    }
  });

  it('leaves to each rank the sum of its own chunk in a reduce-scatter', async () => {
    const { groups } = await form(3);
    const inputs = groups.map(({ rank }) => randomValues(100, rank));
    const expected = ringSum(inputs);
    const ranges = await Promise.all(groups.map((group, rank) => group.reduceScatterSum(inputs[rank]!)));
    expect(ranges).toEqual(ringChunks(100, 3));
    ranges.forEach(({ first, end }, rank) => {
      expect(bits(inputs[rank]!.slice(first, end)).equals(bits(expected.slice(first, end)))).toBe(true);
    });
  });

  it('passes NaN and infinities through, the same bits on all ranks', async () => {
    const { groups } = await form(3);
    const values = groups.map(() => new Float32Array(50).fill(1));
    values[1]![0] = Number.NaN;
    values[2]![20] = Number.POSITIVE_INFINITY;
    values[0]![40] = Number.POSITIVE_INFINITY;
    values[1]![40] = Number.NEGATIVE_INFINITY;
    await Promise.all(groups.map((group, rank) => group.allReduceSum(values[rank]!)));
    expect([values[0]![0], values[0]![1], values[0]![20], values[0]![40]]).toEqual([
      Number.NaN,
      3,
      Infinity,
      Number.NaN,
    ]);
    for (const value of values) expect(bits(value).equals(bits(values[0]!))).toBe(true);
  });

  it('works on a view in the middle of a buffer and leaves the rest alone', async () => {
    const { groups } = await form(2);
    const buffers = groups.map(() => new Float32Array(30).fill(1));
    await Promise.all(groups.map((group, rank) => group.allReduceSum(buffers[rank]!.subarray(5, 18))));
    for (const buffer of buffers)
      expect(Array.from(buffer)).toEqual([...Array(5).fill(1), ...Array(13).fill(2), ...Array(12).fill(1)]);
  });

  it.each([1, 2, 5])('gathers parts of different lengths over %i ranks, by rank', async (worldSize) => {
    const { groups } = await form(worldSize);
    const parts = groups.map(({ rank }) => new Uint8Array(rank * 1000).fill(rank));
    const gathered = await Promise.all(groups.map((group, rank) => group.allGather(parts[rank]!)));
    for (const received of gathered) expect(received).toEqual(parts);
  });

  it.each([1, 2, 4])('broadcasts from any of %i ranks', async (worldSize) => {
    const { groups } = await form(worldSize);
    for (let root = 0; root < worldSize; root++)
      for (const length of [0, 1, 70_000]) {
        const copies = groups.map(({ rank }) => new Uint8Array(length).fill(rank + 1));
        await Promise.all(groups.map((group, rank) => group.broadcast(copies[rank]!, root)));
        for (const copy of copies) expect(copy.every((byte) => byte === root + 1)).toBe(true);
      }
    await expect(groups[0]!.broadcast(new Uint8Array(1), worldSize)).rejects.toMatchObject({
      code: 'invalid_argument',
    });
  });

  it('holds everybody at a barrier until the last one has come', async () => {
    const { groups } = await form(4);
    const passed = new Set<number>();
    const early = groups.slice(0, 3).map((group) => group.barrier().then(() => passed.add(group.rank)));
    await sleep(30);
    expect(passed.size).toBe(0);
    await Promise.all([...early, groups[3]!.barrier()]);
    expect(passed.size).toBe(3);
  });

  it('does calls made at once one after the other, in order', async () => {
    const { groups } = await form(3);
    const values = groups.map(() => [new Float32Array(5000).fill(1), new Float32Array(10).fill(1)] as const);
    await Promise.all(
      groups.flatMap((group, rank) => {
        const [large, small] = values[rank]!;
        return [group.allReduceSum(large), group.allReduceSum(small), group.barrier(), group.allReduceSum(large)];
      }),
    );
    for (const [large, small] of values) expect([large[4999], small[9]]).toEqual([9, 3]);
  });

  it('counts what it moved', async () => {
    const { groups } = await form(2);
    await Promise.all(groups.map((group) => group.allReduceSum(new Float32Array(1000))));
    for (const { stats } of groups) {
      expect(stats.bytesSent).toBe(4000 + 32);
      expect(stats.bytesReceived).toBe(4000 + 32);
      expect(stats.seconds).toBeGreaterThan(0);
    }
  });

  it('says which ranks disagree about the length, and stays failed', async () => {
    const { groups } = await form(3);
    const failures = await failuresOf(
      groups.map((group, rank) => group.allReduceSum(new Float32Array(rank === 1 ? 8 : 12))),
    );
    for (const failure of failures) {
      expect(failure).toMatchObject({ code: 'invalid_argument' });
      expect(failure.message).toMatch(/rank [01] calls all-reduce with \d+ values, but rank [12] with \d+ values/);
      expect(failure.message).toContain('8 values');
      expect(failure.message).toContain('12 values');
    }
    for (const failure of await failuresOf(groups.map((group) => group.barrier())))
      expect(failure.code).toBe('invalid_argument');
  });

  it('says which ranks disagree about the operation or the root', async () => {
    const { groups } = await form(2);
    const failures = await failuresOf([groups[0]!.barrier(), groups[1]!.broadcast(new Uint8Array(3), 0)]);
    for (const { message } of failures)
      expect(message).toMatch(/rank \d calls (barrier|broadcast) .* where rank \d calls/);
    const other = await form(2);
    for (const { message } of await failuresOf(
      other.groups.map((group, rank) => group.broadcast(new Uint8Array(3), rank)),
    ))
      expect(message).toMatch(/rank \d broadcasts from root \d, but rank \d from root \d/);
  });

  it.each([2, 3, 5])(
    'names a rank of %i that crashed in the middle, on every survivor, at once and later',
    async (worldSize) => {
      const { groups, crash } = await form(worldSize);
      const dead = worldSize - 1;
      const survivors = groups.slice(0, dead);
      const calls = survivors.map((group) => group.allReduceSum(new Float32Array(300_000)));
      setTimeout(() => crash(dead), 10);
      for (const failure of await failuresOf(calls)) {
        expect(failure).toMatchObject({ code: 'unavailable' });
        expect(failure.message).toContain(`rank ${dead} of run conformance, generation 1 is gone`);
      }
      for (const failure of await failuresOf(survivors.map((group) => group.barrier())))
        expect(failure.message).toContain(`rank ${dead} of run conformance`);
    },
  );

  it('a crash between operations fails the ranks that wait elsewhere', async () => {
    const { groups, crash } = await form(4);
    await Promise.all(groups.map((group) => group.allReduceSum(new Float32Array(10))));
    crash(2);
    // Rank 0 is no neighbour of rank 2, and 1 and 3 call nothing.
    const [failure] = await failuresOf([groups[0]!.barrier()]);
    expect(failure).toMatchObject({ code: 'unavailable' });
    expect(failure!.message).toContain('rank 2 of run');
  });

  it('lets ranks finish what a rank that closed early had already done', async () => {
    const { groups } = await form(3);
    const values = groups.map(() => new Float32Array(200_000).fill(1));
    await Promise.all(
      groups.map(async (group, rank) => {
        await group.allReduceSum(values[rank]!);
        if (rank === 1) await group.close();
      }),
    );
    for (const value of values) expect(value[199_999]).toBe(3);
    for (const failure of await failuresOf([groups[0]!.barrier(), groups[2]!.barrier()])) {
      expect(failure).toMatchObject({ code: 'unavailable' });
      expect(failure.message).toContain('rank 1 of run conformance, generation 1 is gone: it closed its process group');
    }
    const [own] = await failuresOf([groups[1]!.barrier()]);
    expect(own).toMatchObject({ code: 'cancelled' });
  });

  it.each([1, 2, 3])('gives up on an abort signal, with a reason for the other ranks (%i ranks)', async (worldSize) => {
    const aborts = Array.from({ length: worldSize }, () => new AbortController());
    const { groups } = await form(worldSize, { signals: aborts.map(({ signal }) => signal) });
    const [aborted, ...others] = groups;
    // Rank 0 itself does not come, so that nothing can end before the abort.
    const waiting = others.map((group) => group.barrier());
    setTimeout(() => aborts[0]!.abort(), 10);
    for (const failure of await failuresOf(waiting)) {
      expect(failure).toMatchObject({ code: 'unavailable' });
      expect(failure.message).toContain('rank 0 of run conformance, generation 1 is gone: its part was cancelled');
    }
    await sleep(15);
    const [own] = await failuresOf([aborted!.allReduceSum(new Float32Array(10))]);
    expect(own).toMatchObject({ code: 'cancelled' });
  });

  it('stops a call under way on abort, and touches its array no more', async () => {
    const abort = new AbortController();
    const { groups } = await form(2, { signals: [abort.signal] });
    const values = new Float32Array(1_000_000).fill(1);
    const call = groups[0]!.allReduceSum(values);
    setTimeout(() => abort.abort(), 5);
    expect((await failuresOf([call]))[0]).toMatchObject({ code: 'cancelled' });
    values.fill(7);
    await failuresOf([groups[1]!.allReduceSum(new Float32Array(1_000_000).fill(1))]);
    expect(values.every((value) => value === 7)).toBe(true);
  });
});

function randomValues(length: number, rank: number): Float32Array {
  const random = Random.of('values', length, rank);
  return Float32Array.from({ length }, () => random.uniform() * 2 ** (random.below(20) - 10) - 0.5);
}

/** What the ring computes: chunk r is added up in the order r+1, r+2, …, r, each sum rounded to float32. */
function ringSum(inputs: readonly Float32Array[]): Float32Array {
  const worldSize = inputs.length;
  const sum = new Float32Array(inputs[0]!.length);
  ringChunks(sum.length, worldSize).forEach(({ first, end }, chunk) => {
    for (let i = first; i < end; i++) {
      let value = inputs[(chunk + 1) % worldSize]![i]!;
      for (let n = 2; n <= worldSize; n++) value = Math.fround(value + inputs[(chunk + n) % worldSize]![i]!);
      sum[i] = value;
    }
  });
  return sum;
}

function bits(values: Float32Array): Buffer {
  return Buffer.from(values.buffer, values.byteOffset, values.byteLength);
}

async function failuresOf(calls: readonly Promise<unknown>[]): Promise<WeftError[]> {
  return (await Promise.allSettled(calls)).map((outcome) => {
    if (outcome.status === 'rejected' && outcome.reason instanceof WeftError) return outcome.reason;
    throw new Error(`expected a WeftError, got ${JSON.stringify(outcome)}`);
  });
}
