import { type ChildProcessByStdio, execFileSync, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeAll, expect, it } from 'vitest';

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url));

type Message = Partial<Record<'address' | 'code' | 'message' | 'later', string> & Record<'round' | 'wrong', number>>;

/** One rank in a process of its own. */
class Rank {
  readonly received: Message[] = [];
  readonly exited: Promise<unknown>;
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  #notify: () => void = () => {};

  constructor(rank: number) {
    this.#child = spawn(process.execPath, [at('./kill-rank.process.child.mjs'), String(rank)], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.exited = new Promise((resolve) => this.#child.once('exit', resolve));
    createInterface(this.#child.stdout).on('line', (line) => {
      this.received.push(JSON.parse(line));
      this.#notify();
    });
  }

  async waitFor(wanted: (message: Message) => boolean): Promise<Message> {
    for (;;) {
      const found = this.received.find(wanted);
      if (found !== undefined) return found;
      await new Promise<void>((resolve) => {
        this.#notify = resolve;
      });
    }
  }

  send(line: string): void {
    this.#child.stdin.write(`${line}\n`);
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }
}

const ranks: Rank[] = [];

beforeAll(() => {
  // The ranks run the compiled package.
  execFileSync(process.execPath, [at('../../../../node_modules/typescript/bin/tsc'), '-b', at('../..')]);
});

afterEach(() => {
  for (const rank of ranks.splice(0)) rank.kill();
});

it.each([2, 4])('kill -9 of one of %i processes ends the all-reduce of all others, who name it', async (worldSize) => {
  for (let rank = 0; rank < worldSize; rank++) ranks.push(new Rank(rank));
  const started = await Promise.all(ranks.map((rank) => rank.waitFor(({ address }) => address !== undefined)));
  const addresses = JSON.stringify(started.map(({ address }) => address));
  for (const rank of ranks) rank.send(addresses);
  await Promise.all(ranks.map((rank) => rank.waitFor(({ round }) => round === 5)));

  const dead = worldSize - 1;
  ranks[dead]!.kill();
  const survivors = ranks.slice(0, dead);
  for (const survivor of survivors) {
    const failure = await survivor.waitFor(({ code }) => code !== undefined);
    expect(failure.code).toBe('unavailable');
    expect(failure.message).toContain(`rank ${dead} of run kill, generation 1 is gone`);
    const { later } = await survivor.waitFor((message) => message.later !== undefined);
    expect(later).toContain(`rank ${dead} of run kill`);
    await survivor.exited;
    for (const { wrong = -1 } of survivor.received) expect(wrong).toBe(-1);
  }
});
