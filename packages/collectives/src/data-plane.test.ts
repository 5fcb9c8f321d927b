import { connect, createServer, type Server, type Socket } from 'node:net';
import { sleep } from '@weft/common';
import { afterEach, describe, expect, it } from 'vitest';
import { localPath } from './connect/dial.js';
import { callPeer } from './connect/handshake.js';
import { DataPlane, type JoinRingOptions } from './data-plane.js';
import type { ProcessGroup } from './ring/process-group.js';
import { encodeFrame } from './transport/frame.js';
import { SharedPipe } from './transport/shared-memory/pipe.js';
import { SocketDuplex } from './transport/socket-duplex.js';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function listen(): Promise<DataPlane> {
  const plane = await DataPlane.listen();
  cleanups.push(() => plane.close());
  return plane;
}

type Changes = Partial<Omit<JoinRingOptions, 'rank' | 'addresses'>>;

function join(planes: readonly DataPlane[], rank: number, changes: Changes = {}): Promise<ProcessGroup> {
  const addresses = planes.map(({ address }) => address);
  const usual = { runId: 'r-1', generation: 1, token: 'secret', timeoutMs: 15_000 };
  return planes[rank]!.joinRing({ ...usual, rank, addresses, ...changes });
}

function joinAll(planes: readonly DataPlane[], changes: Changes = {}): Promise<ProcessGroup[]> {
  return Promise.all(planes.map((_, rank) => join(planes, rank, changes)));
}

async function sumOfOnes(groups: readonly ProcessGroup[]): Promise<number[]> {
  const values = groups.map(() => new Float32Array(10_000).fill(1));
  await Promise.all(groups.map((group, rank) => group.allReduceSum(values[rank]!)));
  return values.map((value) => value[9_999]!);
}

describe('a data plane', () => {
  it('listens on loopback by default, and gives its address', async () => {
    const plane = await listen();
    expect(plane.address).toMatch(/^127\.0\.0\.1:\d+$/);
    const open = await DataPlane.listen({ host: '0.0.0.0', advertisedHost: 'gpu-7' });
    cleanups.push(() => open.close());
    expect(open.address).toMatch(/^gpu-7:\d+$/);
  });

  it.runIf(process.platform === 'linux')('is reached by its own machine without TCP', async () => {
    const planes = await Promise.all([0, 1].map(() => DataPlane.listen({ advertisedHost: 'no-such-host' })));
    for (const plane of planes) cleanups.push(() => plane.close());
    expect(await sumOfOnes(await joinAll(planes))).toEqual([2, 2]);
  });

  describe.runIf(process.platform === 'linux')('takes the memory that a caller offers', () => {
    /** Whether rank 0 takes what a caller of its data connection offers. */
    async function takes(memory: string, connectTo: (address: string) => Promise<SocketDuplex>): Promise<boolean> {
      const plane = await listen();
      const ring = { runId: 'r', generation: 1, worldSize: 2 };
      const addresses = [plane.address, 'nobody:1'];
      const joining = plane.joinRing({ ...ring, rank: 0, addresses, token: 't', timeoutMs: 1000 });
      joining.catch(() => {});
      const duplex = await connectTo(plane.address);
      const taken = await callPeer(duplex, { ...ring, rank: 1, link: 'data', expertWorker: 0 }, 't', memory);
      duplex.destroy();
      await expect(joining).rejects.toMatchObject({ code: 'deadline_exceeded' });
      return taken;
    }
    const locally = async (address: string) => (await SocketDuplex.connectLocally(localPath(address)!))!;
    const overTcp = async (address: string) => {
      const [host = '', port] = address.split(':');
      return SocketDuplex.connect({ host, port: Number(port) });
    };

    it('where it is of the same machine and can be reached', async () => {
      const pipe = SharedPipe.create()!;
      cleanups.push(() => pipe.close());
      expect(await takes(pipe.name, locally)).toBe(true);
    });

    it('not where it cannot be reached', async () => {
      expect(await takes(`${process.pid}/999999/${'0'.repeat(32)}`, locally)).toBe(false);
    });

    it('not from another machine', async () => {
      const pipe = SharedPipe.create()!;
      cleanups.push(() => pipe.close());
      expect(await takes(pipe.name, overTcp)).toBe(false);
    });
  });

  it('needs no connection for a ring of one', async () => {
    const plane = await listen();
    const group = await plane.joinRing({
      runId: 'r',
      generation: 1,
      rank: 0,
      addresses: ['x:1'],
      token: 't',
      timeoutMs: 1,
    });
    expect(await sumOfOnes([group])).toEqual([1]);
  });

  it('joins generation after generation, with another worldSize and other ranks', async () => {
    const planes = [await listen(), await listen(), await listen()];
    const first = await joinAll(planes);
    expect(await sumOfOnes(first)).toEqual([3, 3, 3]);
    await Promise.all(first.map((group) => group.close()));
    const second = await joinAll([planes[2]!, planes[0]!], { generation: 2 });
    expect(await sumOfOnes(second)).toEqual([2, 2]);
    // Without closing the one before.
    const third = await joinAll(planes, { generation: 3 });
    expect(await sumOfOnes(third)).toEqual([3, 3, 3]);
  });

  it('serves two runs at the same time without mixing them', async () => {
    const planes = [await listen(), await listen()];
    const [one, other] = await Promise.all([joinAll(planes), joinAll(planes, { runId: 'r-2', token: 'other' })]);
    const sums = await Promise.all([sumOfOnes(one), sumOfOnes(other), sumOfOnes(one)]);
    expect(sums).toEqual([
      [2, 2],
      [2, 2],
      [2, 2],
    ]);
    await other[0]!.close();
    expect(await sumOfOnes(one)).toEqual([2, 2]);
  });

  it('lets a rank that comes early wait for the others', async () => {
    const planes = [await listen(), await listen()];
    const early = join(planes, 0);
    await sleep(60);
    const groups = await Promise.all([early, join(planes, 1)]);
    expect(await sumOfOnes(groups)).toEqual([2, 2]);
  });

  it('refuses a generation that is over', async () => {
    const planes = [await listen(), await listen()];
    await joinAll(planes, { generation: 5 });
    await expect(join(planes, 1, { generation: 4 })).rejects.toMatchObject({
      code: 'failed_precondition',
      message: expect.stringContaining('generation 4 of run r-1 is over: the called worker is in generation 5'),
    });
  });

  it('refuses a rank with another token, without sending either', async () => {
    const planes = [await listen(), await listen()];
    const outcomes = await Promise.allSettled([
      join(planes, 0, { timeoutMs: 1000 }),
      join(planes, 1, { token: 'wrong' }),
    ]);
    for (const outcome of outcomes) expect(outcome.status).toBe('rejected');
    expect(outcomes[1]).toMatchObject({
      reason: { code: 'failed_precondition', message: expect.stringContaining('rank 1 does not know the token') },
    });
  });

  it('refuses ranks that count differently', async () => {
    const planes = [await listen(), await listen(), await listen()];
    const outcomes = await Promise.allSettled([join(planes, 0, { timeoutMs: 1000 }), join(planes.slice(0, 2), 1)]);
    expect(outcomes[1]).toMatchObject({
      reason: { code: 'invalid_argument', message: expect.stringContaining('rank 1 counts 2 ranks, rank 0 counts 3') },
    });
  });

  it('names the rank that did not come in time', async () => {
    const planes = [await listen(), await listen(), await listen()];
    const outcomes = await Promise.allSettled([
      join(planes, 0, { timeoutMs: 1000 }),
      join(planes, 1, { timeoutMs: 1000 }),
    ]);
    expect(outcomes[0]).toMatchObject({
      reason: {
        code: 'deadline_exceeded',
        message: expect.stringContaining(`rank 2 did not answer at ${planes[2]!.address}`),
      },
    });
    expect(outcomes[1]).toMatchObject({
      reason: {
        code: 'deadline_exceeded',
        message: expect.stringContaining('rank 2 did not call; rank 0 has answered'),
      },
    });
  });

  it('gives up joining when its signal aborts', async () => {
    const planes = [await listen(), await listen()];
    const abort = new AbortController();
    setTimeout(() => abort.abort(), 20);
    await expect(join(planes, 0, { signal: abort.signal })).rejects.toMatchObject({ code: 'cancelled' });
    await expect(join(planes, 0, { generation: 2, signal: abort.signal })).rejects.toMatchObject({ code: 'cancelled' });
  });

  it('closes its groups with itself, and then joins no more', async () => {
    const planes = [await listen(), await listen()];
    const [left, right] = await joinAll(planes);
    await planes[0]!.close();
    await expect(left!.barrier()).rejects.toMatchObject({ code: 'cancelled' });
    await expect(right!.barrier()).rejects.toMatchObject({ code: 'unavailable' });
    await expect(join(planes, 0, { generation: 2 })).rejects.toMatchObject({ code: 'failed_precondition' });
  });

  it('says that a port is taken', async () => {
    const plane = await listen();
    const port = Number(plane.address.split(':')[1]);
    await expect(DataPlane.listen({ port })).rejects.toMatchObject({
      code: 'port_in_use',
      message: `the data plane cannot listen on 127.0.0.1:${port}, the port is taken`,
    });
  });

  it('refuses options out of range, naming field and value', async () => {
    const plane = await listen();
    const options = { runId: 'r', generation: 1, rank: 0, addresses: ['127.0.0.1:1'], token: 't', timeoutMs: 10 };
    await expect(plane.joinRing({ ...options, rank: 1 })).rejects.toThrow('rank 1 is not one of the ranks 0 to 0');
    await expect(plane.joinRing({ ...options, generation: -1 })).rejects.toThrow('generation must be');
    await expect(plane.joinRing({ ...options, runId: '' })).rejects.toThrow('runId');
    await expect(plane.joinRing({ ...options, token: '' })).rejects.toThrow('token');
    await expect(plane.joinRing({ ...options, addresses: ['a:1', 'b:99999'] })).rejects.toThrow(
      '"b:99999" is not an address',
    );
  });
});

describe('strangers', () => {
  const usual = { runId: 'r', generation: 1, rank: 1, token: 't', timeoutMs: 15_000 };

  async function strangerThatSends(bytes: Uint8Array): Promise<string> {
    const sockets: Socket[] = [];
    const server: Server = createServer((socket) => {
      sockets.push(socket);
      socket.on('error', () => {});
      socket.write(bytes);
    });
    await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
    cleanups.push(() => {
      for (const socket of sockets) socket.destroy();
      server.close();
    });
    const bound = server.address();
    return `127.0.0.1:${typeof bound === 'object' ? bound?.port : ''}`;
  }

  function frame(protocol: number, length: number): Buffer {
    const bytes = Buffer.from('WEFT\0\0\0\0\0\0\0\0');
    bytes.writeUInt32LE(protocol, 4);
    bytes.writeUInt32LE(length, 8);
    return bytes;
  }

  it('are reported differently from a worker of another protocol version', async () => {
    const plane = await listen();
    const addresses = [await strangerThatSends(Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')), plane.address];
    await expect(plane.joinRing({ ...usual, addresses })).rejects.toMatchObject({
      code: 'corrupt_data',
      message: expect.stringContaining('does not speak the data plane protocol of Weft'),
    });
    const newer = [await strangerThatSends(frame(9, 10)), plane.address];
    await expect(plane.joinRing({ ...usual, addresses: newer })).rejects.toMatchObject({
      code: 'version_mismatch',
      message: expect.stringContaining('version 9'),
    });
  });

  it('cannot pass for a rank of the ring without its token', async () => {
    const plane = await listen();
    const frameOf = (body: object) => Buffer.from(encodeFrame({ ...body }));
    const impostor = await strangerThatSends(
      Buffer.concat([frameOf({ nonce: 'n' }), frameOf({ proof: 'f'.repeat(64) })]),
    );
    await expect(plane.joinRing({ ...usual, addresses: [impostor, plane.address] })).rejects.toMatchObject({
      code: 'failed_precondition',
      message: expect.stringContaining('does not know the token of this ring'),
    });
  });

  it('cannot make a worker take memory by announcing a large message', async () => {
    const plane = await listen();
    const addresses = [await strangerThatSends(frame(2, 0xffffffff)), plane.address];
    await expect(plane.joinRing({ ...usual, addresses })).rejects.toThrow('4294967295 bytes is over the limit');
  });

  it('are disconnected when they send nonsense, and disturb nobody', async () => {
    const planes = [await listen(), await listen()];
    const [host, port] = planes[0]!.address.split(':');
    const answers = [Buffer.from('GET / HTTP/1.1\r\n\r\n'), Buffer.concat([frame(2, 2), Buffer.from('{}')])].map(
      (bytes) =>
        new Promise<string>((resolve) => {
          let received = '';
          const socket = connect(Number(port), host, () => socket.write(bytes));
          socket.on('data', (chunk) => {
            received += chunk.toString('latin1');
          });
          socket.on('close', () => resolve(received));
          socket.on('error', () => {});
        }),
    );
    const groups = await joinAll(planes);
    expect(await sumOfOnes(groups)).toEqual([2, 2]);
    const [http, empty] = await Promise.all(answers);
    expect(http).toContain('does not speak the data plane protocol');
    expect(empty).toContain('lacks the text');
  });

  it('that say nothing do not keep peers out, however many they are', async () => {
    const planes = [await listen(), await listen()];
    const [host = '', port] = planes[0]!.address.split(':');
    const opened = Array.from({ length: 400 }, async () => {
      const socket = connect(Number(port), host);
      socket.on('error', () => {});
      cleanups.push(() => socket.destroy());
      await new Promise((resolve) => socket.once('connect', resolve));
    });
    await Promise.all(opened);
    await sleep(200);
    expect(await sumOfOnes(await joinAll(planes))).toEqual([2, 2]);
  });
});
