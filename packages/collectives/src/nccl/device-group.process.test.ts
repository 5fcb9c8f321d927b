import { type ChildProcessByStdio, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { ncclStandIn } from '@weft/testing';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'weft-stand-in-'));
const standIn = ncclStandIn(folder);

type Answer = Readonly<Record<string, unknown>>;

/** One rank in a process of its own, with the stand-in of NCCL. */
class Rank {
  readonly address: Promise<string>;
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #answers: Answer[] = [];
  readonly #waiting: (() => void)[] = [];

  constructor(rank: number, { library = standIn, devices = 1 } = {}) {
    const args = [at('./device-group.process.child.mjs'), String(rank), library, String(devices)];
    this.#child = spawn(process.execPath, args, {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { ...process.env, STAND_IN_LOG: logOf(rank) },
    });
    createInterface(this.#child.stdout).on('line', (line) => {
      this.#answers.push(JSON.parse(line));
      for (const wake of this.#waiting.splice(0)) wake();
    });
    this.address = this.#next('address').then(({ address }) => String(address));
  }

  async do(command: string, options: object = {}): Promise<Answer> {
    this.#child.stdin.write(`${JSON.stringify({ command, ...options })}\n`);
    return this.#next('done');
  }

  async hanging(): Promise<void> {
    await this.#next('hanging');
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }

  async #next(key: string): Promise<Answer> {
    for (;;) {
      const index = this.#answers.findIndex((answer) => key in answer);
      if (index >= 0) return this.#answers.splice(index, 1)[0]!;
      await new Promise<void>((wake) => this.#waiting.push(wake));
    }
  }
}

const logOf = (rank: number) => join(folder, `calls-${rank}.txt`);
const callsOf = (rank: number) => readFileSync(logOf(rank), 'utf8').trim().split('\n');
let ranks: Rank[] = [];

/** @param own by rank, how it differs from the others */
async function form(generation: number, own: readonly object[] = []): Promise<Answer[]> {
  const addresses = await Promise.all(ranks.map(({ address }) => address));
  return Promise.all(ranks.map((rank, i) => rank.do('join', { addresses, generation, ...own[i] })));
}

const all = (command: string, options: object = {}) => Promise.all(ranks.map((rank) => rank.do(command, options)));

beforeAll(() => {
  // The ranks run the compiled package.
  execFileSync(process.execPath, [at('../../../../node_modules/typescript/bin/tsc'), '-b', at('../..')]);
});

afterEach(() => {
  for (const rank of ranks) rank.kill();
  ranks = [];
  for (const rank of [0, 1, 2]) rmSync(logOf(rank), { force: true });
});

afterAll(() => rmSync(folder, { recursive: true }));

describe('ranks with GPUs', () => {
  it('sum in the memory of their devices to the sums of the ring', async () => {
    ranks = [0, 1, 2].map((rank) => new Rank(rank, { devices: 2 }));
    expect(await form(1)).toMatchObject([0, 1, 2].map(() => ({ description: 'NCCL 2.27.7', reason: '' })));
    for (const elements of [1, 1000, 50_001]) {
      for (const { difference } of await all('sum', { elements })) expect(difference).toBeLessThan(1e-5);
    }
  });

  it('call the library in one order: id, device, communicator, operations, end', async () => {
    ranks = [0, 1].map((rank) => new Rank(rank, { devices: 2 }));
    await form(1);
    await all('sum', { elements: 7 });
    await all('leave');
    const opened = [
      'set device 0',
      'set device 1',
      'set device 0',
      'init rank 0 of 2',
      'set device 1',
      'init rank 0 of 2',
    ];
    expect(callsOf(0)).toEqual([
      ...['unique id', 'unique id', ...opened],
      ...['all-reduce 7', 'all-reduce 7', 'abort rank 0', 'abort rank 0'],
    ]);
    expect(callsOf(1).filter((call) => call === 'unique id')).toEqual([]);
  });

  it('exchange rows at the same time, longer than any buffer between them', async () => {
    ranks = [0, 1, 2].map((rank) => new Rank(rank, { devices: 2 }));
    await form(1);
    const bytes = 2 * 30_000 * 4;
    const answers = await all('shift', { elements: 30_000 });
    expect(answers).toMatchObject([0, 1, 2].map(() => ({ wrong: -1, bytesSent: bytes, bytesReceived: bytes })));
  });

  it('leave an operation when a rank dies, and go on without it', async () => {
    ranks = [0, 1, 2].map((rank) => new Rank(rank));
    await form(1);
    const [first, second, dead] = ranks as [Rank, Rank, Rank];
    const hanging = [first.do('hang'), second.do('hang')];
    void dead.do('hang');
    await Promise.all(ranks.map((rank) => rank.hanging()));
    dead.kill();
    const answers = await Promise.all(hanging);
    for (const { code, message, later } of answers) {
      expect(code).toBe('unavailable');
      expect(message).toContain('rank 2 of run nccl, generation 1 is gone');
      expect(later).toBe(message);
    }
    ranks = [first, second];
    await all('leave');
    await form(2);
    for (const { difference } of await all('sum', { elements: 1000 })) expect(difference).toBeLessThan(1e-5);
  });

  it('leave nothing behind after a hundred generations', async () => {
    ranks = [0, 1].map((rank) => new Rank(rank));
    const generation = async (number: number) => {
      await form(number);
      await all('sum', { elements: 10 });
      await all('leave');
    };
    await generation(1);
    const before = await all('resources');
    for (let number = 2; number <= 101; number++) await generation(number);
    const after = await all('resources');
    expect(after).toEqual(before);
    expect(after).toMatchObject([0, 1].map(() => ({ meetings: 0, files: 0 })));
  });
});

describe('ranks that are not alike', () => {
  it('use the ring where one has no library, and say which', async () => {
    ranks = [new Rank(0), new Rank(1, { library: '' })];
    expect(await form(1)).toMatchObject([0, 1].map(() => ({ description: '', reason: 'rank 1 has no NCCL library' })));
  });

  it('use the ring where they have different numbers of devices', async () => {
    ranks = [new Rank(0, { devices: 2 }), new Rank(1, { devices: 1 })];
    const reason = 'rank 0 has NCCL 2.27.7 on 2 devices, rank 1 has NCCL 2.27.7 on 1 devices';
    expect(await form(1)).toMatchObject([0, 1].map(() => ({ description: '', reason })));
  });

  it('use the ring where they hold an array in different shards', async () => {
    ranks = [new Rank(0), new Rank(1)];
    const cut = { lengths: [4, 8], shards: [4, 4] };
    const reason = 'rank 0 holds of 8 in shards of 8 elements, rank 1 in shards of 4';
    expect(await form(1, [{ lengths: [4, 8] }, cut])).toMatchObject([0, 1].map(() => ({ description: '', reason })));
  });

  it.each([
    ['lengths', { lengths: [4, 9] }, 'rank 0 sums of 8 as float32[8], rank 2 sums of 9 as float32[9]'],
    ['orders', { lengths: [8, 4] }, 'rank 0 sums of 4 as float32[4], rank 2 sums of 8 as float32[8]'],
    ['numbers of arrays', { lengths: [4, 8, 2] }, 'rank 0 sums 2 arrays, rank 2 sums 3'],
  ])('fail with one sentence where they would sum other %s, instead of waiting for ever', async (_, own, message) => {
    ranks = [0, 1, 2].map((rank) => new Rank(rank));
    const same = { lengths: [4, 8] };
    const refused = { done: 'join', code: 'invalid_argument', message };
    expect(await form(1, [same, same, own])).toEqual([refused, refused, refused]);
  });
});
