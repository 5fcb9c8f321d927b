import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { WEFT_VERSION } from '@weft/common';
import type { RunConfig } from '@weft/config';
import { RunsService } from '@weft/proto';
import { type Channel, channel } from '@weft/rpc';
import { command, Home, type Output, repository } from './weft.js';

const POLL_MS = 20;
const WAIT_LIMIT_MS = 90_000;

/** A long-lived process: a coordinator or a worker. */
export class Daemon {
  readonly process: ChildProcess;
  readonly ended: Promise<number | null>;
  #log = '';

  constructor(words: readonly string[], env: Readonly<Record<string, string>>) {
    this.process = spawn(process.execPath, [command, ...words, '--exit-with-stdin'], {
      cwd: repository,
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
    });
    for (const stream of [this.process.stdout, this.process.stderr])
      stream?.on('data', (chunk) => {
        this.#log += chunk;
      });
    this.process.stdin?.on('error', () => {});
    this.ended = new Promise((resolve) => this.process.once('close', (code) => resolve(code)));
  }

  /** All of its output so far. */
  get log(): string {
    return this.#log;
  }

  async prints(sentence: string): Promise<void> {
    await until(
      () => `"${sentence}" in ${this.#log.slice(-2000)}`,
      () => this.#log.includes(sentence),
    );
  }

  /** kill -9. */
  async kill(): Promise<void> {
    this.process.kill('SIGKILL');
    await this.ended;
  }
}

interface Run {
  readonly runId: string;
  readonly status: string;
  readonly step: number;
  readonly reason: string;
}

/** A coordinator and workers as processes of their own, on one home. */
export class Cluster implements AsyncDisposable {
  readonly home: Home;
  readonly #env: Readonly<Record<string, string>>;
  readonly #daemons: Daemon[] = [];

  /** @param redisUrl where logs and queue are kept; files of the home without it. */
  static async make(redisUrl = ''): Promise<Cluster> {
    return new Cluster(await Home.make(), redisUrl);
  }

  private constructor(home: Home, redisUrl: string) {
    this.home = home;
    this.#env = { WEFT_REDIS_URL: redisUrl };
  }

  coordinator(...words: string[]): Daemon {
    return this.#start('coordinator', '--port', '0', ...words);
  }

  /** It finds the coordinator through the home, and after its death the next one. */
  async worker(): Promise<Daemon> {
    await until(
      () => 'a coordinator',
      () => existsSync(join(this.home.path, 'coordinator.json')),
    );
    return this.#start('worker');
  }

  /** Waits until a coordinator serves the home, with so many workers. */
  async ready(workers: number): Promise<void> {
    const logs = () => this.#daemons.map(({ log }) => log.slice(-500)).join('\n');
    await until(
      () => `a coordinator with its workers: ${logs()}`,
      async () => {
        const { code, stdout } = await this.weft('queue', '--json');
        return code === 0 && (JSON.parse(stdout) as { workersConnected: number }).workersConnected >= workers;
      },
    );
  }

  weft(...words: string[]): Promise<Output> {
    return this.home.weft(...words);
  }

  /** Launches without waiting for the end. */
  async launch(...words: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.weft('launch', 'debugNano', '--detach', '--json', ...words);
    if (code !== 0) throw new Error(`weft launch ended with ${code}: ${stderr}`);
    return (JSON.parse(stdout) as { runId: string }).runId;
  }

  /** Over one connection: a process for each launch would take minutes. */
  async launchMany(count: number, config: RunConfig): Promise<void> {
    const open = await this.#connect();
    const request = { configJson: JSON.stringify(config), clientVersion: WEFT_VERSION };
    for (let i = 0; i < count; i++) await open.unary(RunsService.launch, request);
    open.close();
  }

  /** How long `weft queue` takes at best, as a person runs it, and how many runs it shows. */
  async timeQueue(): Promise<{ tookMs: number; rows: number }> {
    let tookMs = Number.POSITIVE_INFINITY;
    let rows = 0;
    // The fastest of a few: other processes may want the machine too.
    for (let attempt = 0; attempt < 5; attempt++) {
      const beganMs = performance.now();
      const { stdout } = await this.weft('queue');
      tookMs = Math.min(tookMs, performance.now() - beganMs);
      rows = stdout.split('\n').filter((line) => line.includes('debugNano')).length;
    }
    return { tookMs, rows };
  }

  async #connect(): Promise<Channel> {
    return channel((await this.home.coordinator()).address);
  }

  async run(runId: string): Promise<Run> {
    const { stdout, stderr } = await this.weft('status', runId, '--json');
    if (stdout === '') throw new Error(stderr);
    return JSON.parse(stdout) as Run;
  }

  async untilStatus(runId: string, status: string): Promise<void> {
    await until(
      () => `${runId} to be ${status}`,
      async () => (await this.run(runId)).status === status,
    );
  }

  /** The runs that wait, in their order. */
  async waiting(): Promise<string[]> {
    const { stdout } = await this.weft('queue', '--json');
    const { jobs } = JSON.parse(stdout) as { jobs: { id: string; position: number | null }[] };
    return jobs.flatMap(({ id, position }) => (position === null ? [] : id));
  }

  losses(runId: string): number[] {
    return this.home.metrics(runId).map(({ loss }) => loss);
  }

  /** What the living coordinator of the home wrote about itself. */
  get coordinatorProcessId(): number {
    const file = JSON.parse(readFileSync(join(this.home.path, 'coordinator.json'), 'utf8')) as { processId: number };
    return file.processId;
  }

  async remove(): Promise<void> {
    for (const daemon of this.#daemons) await daemon.kill();
    await this.home.remove();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.remove();
  }

  #start(...words: string[]): Daemon {
    const daemon = new Daemon([...words, '--home', this.home.path], this.#env);
    this.#daemons.push(daemon);
    return daemon;
  }
}

export async function until(what: () => string, isSo: () => boolean | Promise<boolean>): Promise<void> {
  const endMs = performance.now() + WAIT_LIMIT_MS;
  while (!(await isSo())) {
    if (performance.now() > endMs) throw new Error(`waited ${WAIT_LIMIT_MS / 1000} s for ${what()}`);
    await sleep(POLL_MS);
  }
}
