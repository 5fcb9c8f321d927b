import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Random, type WeftError } from '@weft/common';
import { koffi } from '@weft/native';
import type { DeviceSpan, ResidentTensor } from '@weft/tensor';
import { ncclStandIn } from '@weft/testing';
import { afterAll, afterEach, expect, it } from 'vitest';
import { NcclLibrary } from '../nccl/library.js';
import type { ExchangeShape, ExpertExchange, ExpertHost } from './exchange.js';
import { inMemoryExchange } from './in-memory-exchange.js';

// The memory of a device is here that of this process, on which the stand-in of NCCL works.
const folder = mkdtempSync(join(tmpdir(), 'weft-lanes-'));
const standIn = ncclStandIn(folder);
const library = new NcclLibrary({ collectives: standIn, runtime: standIn });
const log = join(folder, 'calls.txt');

/** 5 experts on 2 expert workers, 2 groups of up to 100 rows. */
const shape: ExchangeShape = {
  placement: [
    { first: 0, end: 3 },
    { first: 3, end: 5 },
  ],
  groups: 2,
  capacity: 100,
  width: 16,
  precision: 'fp32',
};
const LIST = shape.capacity * shape.width;

const ends: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const end of ends.splice(0)) await end.close();
});
afterAll(() => rmSync(folder, { recursive: true }));

const spanOf = (values: Float32Array): DeviceSpan => ({
  device: 0,
  address: koffi().address(values),
  elements: values.length,
});

/** Rows that a phase left on a device. */
class DeviceMemory implements ResidentTensor {
  static open = 0;
  readonly spec;
  readonly parts = [];
  readonly values: Float32Array;
  #isFreed = false;

  constructor(values: Float32Array) {
    DeviceMemory.open++;
    this.values = values;
    this.spec = { shape: [values.length], dtype: 'float32' } as const;
  }

  lend<T>(work: (memory: readonly DeviceSpan[]) => Promise<T>): Promise<T> {
    return work([spanOf(this.values)]);
  }

  dispose(): void {
    if (!this.#isFreed) DeviceMemory.open--;
    this.#isFreed = true;
  }
}

const allocate = (worker: number) => async () => {
  const { first, end } = shape.placement[worker]!;
  return new DeviceMemory(new Float32Array((end - first) * shape.groups * LIST).fill(Number.NaN));
};

async function form({ worldSize = 2, without = -1 } = {}) {
  const { ranks, hosts } = inMemoryExchange({ worldSize, shape, answerTimeoutMs: 5_000 });
  ends.push(...ranks, ...hosts);
  const outcomes = await Promise.all([
    ...ranks.map((rank, index) =>
      rank.openDevices(index === without ? { library: undefined, missing: 'the engine has no GPU' } : { library }),
    ),
    ...hosts.map((host, worker) => host.openDevices({ library }, allocate(worker))),
  ]);
  return { ranks, hosts, outcomes };
}

/** As `serve`, for a test that looks elsewhere for what went wrong. */
function serveQuietly(host: ExpertHost): void {
  serve(host).catch(() => {});
}

/** Answers every row with its double; what was not sent must have come as 0. */
async function serve(host: ExpertHost): Promise<void> {
  for await (const request of host.requests()) {
    if (request.kind === 'squaredNorm') request.answer(request.step);
    else if (request.kind === 'deviceRows') {
      const { values } = request.rows as DeviceMemory;
      expect(values.some(Number.isNaN)).toBe(false);
      const answer = new DeviceMemory(values.map((value) => 2 * value));
      void request.answer(answer).finally(() => answer.dispose());
      request.release();
    } else expect.fail('rows came over a connection');
  }
}

/** A call of random numbers of rows, none and all of a list among them; garbage in the rest. */
async function exchange(rank: ExpertExchange, microbatch: number, random: Random): Promise<void> {
  const tokensPerExpert_EG = Int32Array.from({ length: 10 }, () =>
    Math.min(shape.capacity, Math.max(0, Math.floor(random.uniform() * 160) - 30)),
  );
  const rows = Float32Array.from({ length: 10 * LIST }, () => random.uniform() + 0.25);
  const answer = new Float32Array(rows.length).fill(7);
  const call = { tokensPerExpert_EG, rows: spanOf(rows), answer: spanOf(answer) };
  await rank.exchangeOnDevices({ direction: 'forward', step: 1, microbatch, layer: 1 }, call);
  const isSent = (i: number) =>
    Math.floor(i / shape.width) % shape.capacity < tokensPerExpert_EG[Math.floor(i / LIST)]!;
  expect(answer.findIndex((value, i) => value !== (isSent(i) ? Math.fround(2 * rows[i]!) : 0))).toBe(-1);
}

it('rows go from device to device and back in place, in many requests at a time', async () => {
  const { ranks, hosts, outcomes } = await form({ worldSize: 3 });
  expect(outcomes).toEqual(outcomes.map(() => ({ description: 'NCCL 2.27.7' })));
  for (const host of hosts) serveQuietly(host);
  const randoms = ranks.map((_, rank) => Random.of('lanes', rank));
  await Promise.all(
    ranks.flatMap((rank, index) =>
      Array.from({ length: 20 }, (_, microbatch) => exchange(rank, microbatch, randoms[index]!)),
    ),
  );
  expect(await ranks[0]!.squaredNorms(3)).toEqual([3, 3]);
  const [sent, received] = [
    [...ranks, ...hosts].map(({ stats }) => stats.bytesSent),
    hosts.map(({ stats }) => stats.bytesReceived),
  ];
  // All rows, and the messages that announce them.
  expect(sent.slice(0, 3).reduce((sum, bytes) => sum + bytes, 0)).toBe(received.reduce((sum, bytes) => sum + bytes, 0));
  expect(sent[0]).toBeGreaterThan(20 * 10 * 4 * shape.width * 20);
  expect(DeviceMemory.open).toBe(0);
});

it('where one has no GPU, all hear why, and rows go over the connections', async () => {
  const { outcomes } = await form({ without: 1 });
  expect(outcomes).toEqual(outcomes.map(() => ({ reason: 'rank 1: the engine has no GPU' })));
});

it('a lost expert worker ends a request under way by its closed connection, and no deadline passes before', async () => {
  process.env.STAND_IN_LOG = log;
  const { ranks, hosts } = await form();
  serveQuietly(hosts[0]!);
  const calls = ranks.map((rank) =>
    exchange(rank, 0, Random.of('lost')).then(
      () => expect.fail('half of the experts never answered'),
      (error: WeftError) => error,
    ),
  );
  expect(await firstOf(hosts[1]!)).toMatchObject({ kind: 'deviceRows' });
  await hosts[1]!.close();
  for (const { code, message } of await Promise.all(calls)) {
    expect(code).toBe('unavailable');
    expect(message).toBe('expert worker 1 of run in-memory, generation 1 is gone: its connection closed');
  }
  await Promise.all([...ranks, hosts[0]!].map((end) => end.close()));
  delete process.env.STAND_IN_LOG;
  const libraryCalls = readFileSync(log, 'utf8').trim().split('\n');
  expect(libraryCalls.filter((call) => call.startsWith('abort'))).toHaveLength(2 * (2 + 1) * 2);
  expect(DeviceMemory.open).toBe(0);
});

it('a lost rank fails the expert workers and the other ranks, with the sentence of its connection', async () => {
  const { ranks, hosts } = await form();
  const failures = hosts.map((host) => serve(host).catch((error: WeftError) => error.message));
  await ranks[1]!.close();
  for (const [worker, failure] of failures.entries())
    expect(await failure, `expert worker ${worker}`).toContain('rank 1 of run in-memory, generation 1 is gone');
  await expect(exchange(ranks[0]!, 0, Random.of('rank'))).rejects.toThrow(
    'rank 1 of run in-memory, generation 1 is gone',
  );
});

it('an answer that does not come in time names the expert worker and the request', async () => {
  const { ranks, hosts } = inMemoryExchange({ worldSize: 1, shape, answerTimeoutMs: 1_000 });
  ends.push(...ranks, ...hosts);
  await Promise.all([
    ranks[0]!.openDevices({ library }),
    ...hosts.map((host, worker) => host.openDevices({ library }, allocate(worker))),
  ]);
  serveQuietly(hosts[0]!);
  await expect(exchange(ranks[0]!, 4, Random.of('slow'))).rejects.toThrow(
    'expert worker 1 of run in-memory, generation 1 did not answer the tokens of step 1, microbatch 4, layer 1 within 1 s',
  );
});

it('a hundred generations leave nothing behind', async () => {
  const generation = async () => {
    const { ranks, hosts } = await form();
    for (const host of hosts) serveQuietly(host);
    await Promise.all(ranks.map((rank, index) => exchange(rank, 0, Random.of('generation', index))));
    for (const end of ends.splice(0)) await end.close();
  };
  await generation();
  const resources = () => ({
    meetings: readFileSync('/proc/self/maps', 'utf8').split('/dev/shm/stand-in-').length,
    threads: readdirSync('/proc/self/task').length,
    memory: DeviceMemory.open,
  });
  const before = resources();
  for (let number = 0; number < 100; number++) await generation();
  expect(resources()).toEqual(before);
});

async function firstOf(host: ExpertHost): Promise<unknown> {
  for await (const request of host.requests()) return request;
  return undefined;
}
