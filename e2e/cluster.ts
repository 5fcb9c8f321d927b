import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { QueueClient, RunsClient } from '@weft/client';
import type { RunConfig } from '@weft/config';
import type { RunView } from '@weft/contracts';
import { expect } from 'vitest';
import {
  command,
  endedRuns,
  Home,
  type Output,
  processorMs,
  type RunningCommand,
  repository,
  stepsUpTo,
  until,
} from './weft.js';

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

const LAUNCHES_AT_ONCE = 20;

/** A command that launched runs, and those of them that are paused. */
interface PausedCommand {
  readonly command: RunningCommand;
  readonly ids: readonly string[];
}

/** A coordinator and workers as processes of their own, on one home. */
export class Cluster implements AsyncDisposable {
  readonly home: Home;
  readonly #env: Readonly<Record<string, string>>;
  readonly #daemons: Daemon[] = [];

  /**
   * @param redisUrl where logs and queue are kept; files of the home without it
   * @param env variables of all its processes
   */
  static async make(redisUrl = '', env: Readonly<Record<string, string>> = {}): Promise<Cluster> {
    return new Cluster(await Home.make(), { ...env, WEFT_REDIS_URL: redisUrl });
  }

  private constructor(home: Home, env: Readonly<Record<string, string>>) {
    this.home = home;
    this.#env = env;
  }

  coordinator(...words: string[]): Daemon {
    return this.#start('coordinator', '--port', '0', ...words);
  }

  /** It finds the coordinator through the home, and after its death the next one. */
  async worker(app: 'worker' | 'expert-worker' = 'worker'): Promise<Daemon> {
    await until(
      () => 'a coordinator',
      () => existsSync(join(this.home.path, 'coordinator.json')),
    );
    return this.#start(app);
  }

  /** Waits until a coordinator serves the home, with so many workers. */
  async ready(workers: number): Promise<void> {
    const logs = () => this.#daemons.map(({ log }) => log.slice(-500)).join('\n');
    await until(
      () => `a coordinator with its workers: ${logs()}`,
      async () => {
        const connected = this.#withQueue(async (queue) => (await queue.show()).workersConnected);
        // It may not be there yet.
        return (await connected.catch(() => -1)) >= workers;
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

  /**
   * Over one connection, some at a time: a process for each launch would take minutes.
   *
   * @param count a multiple of 20
   */
  async launchMany(count: number, config: RunConfig): Promise<void> {
    await this.#withRuns(async (runs) => {
      for (let launched = 0; launched < count; launched += LAUNCHES_AT_ONCE)
        await Promise.all(Array.from({ length: LAUNCHES_AT_ONCE }, () => runs.launch(config)));
    });
  }

  /**
   * Starts a command that launches runs, and pauses the last of them before there is a worker: so it is not done, however
   * fast the machine is, until they are resumed.
   *
   * @param runs how many it launches
   * @param paused how many of them are paused; their ids come back
   */
  async startPaused(words: readonly string[], runs: number, paused: number): Promise<PausedCommand> {
    const started = this.home.start(...words);
    const waiting = () =>
      this.#withQueue(async (queue) =>
        (await queue.show()).jobs.flatMap(({ id, position }) => (position === null ? [] : id)),
      );
    await started.until(
      () => `${runs} queued runs`,
      async () => (await waiting()).length === runs,
    );
    const ids = (await waiting()).slice(-paused);
    await this.#withQueue(async (queue) => {
      for (const id of ids) await queue.pause(id);
    });
    return { command: started, ids };
  }

  /** Lets the runs start that were paused. */
  async resumePaused(ids: readonly string[]): Promise<void> {
    await this.#withQueue(async (queue) => {
      for (const id of ids) await queue.resume(id);
    });
  }

  /**
   * The processor time that `weft queue` and its coordinator take for it at best, and how many runs it shows. Unlike time on the
   * clock it does not depend on what else the machine does.
   */
  async queueWork(): Promise<{ processorMs: number; rows: number }> {
    const [coordinator] = this.#daemons;
    const spentMs = () => processorMs('self', 'children') + processorMs(coordinator?.process.pid ?? 0, 'own');
    let least = Number.POSITIVE_INFINITY;
    let rows = 0;
    for (let attempt = 0; attempt < 5; attempt++) {
      const beganMs = spentMs();
      const { stdout } = await this.weft('queue');
      least = Math.min(least, spentMs() - beganMs);
      rows = stdout.split('\n').filter((line) => line.includes('debugNano')).length;
    }
    return { processorMs: least, rows };
  }

  /** A run as the coordinator has it, asked over a connection: a process for each question would slow the run down. */
  run(runId: string): Promise<RunView> {
    return this.#withRuns((runs) => runs.get(runId));
  }

  async #withRuns<T>(use: (runs: RunsClient) => Promise<T>): Promise<T> {
    const runs = await RunsClient.connect((await this.home.coordinator()).address);
    return use(runs).finally(() => runs.close());
  }

  async #withQueue<T>(use: (queue: QueueClient) => Promise<T>): Promise<T> {
    const { address } = await this.home.coordinator();
    // One that was killed leaves its address behind, where its successor is not.
    (await RunsClient.connect(address)).close();
    const queue = await QueueClient.connect(address);
    return use(queue).finally(() => queue.close());
  }

  async untilStatus(runId: string, status: string): Promise<void> {
    await until(
      () => `${runId} to be ${status}`,
      async () => (await this.run(runId)).status === status,
    );
  }

  /** @param words what the coordinator says of the run, or a part of it */
  async untilReason(runId: string, words: string): Promise<void> {
    await until(
      () => `the coordinator to say "${words}" of ${runId}`,
      async () => (await this.run(runId)).reason.includes(words),
    );
  }

  /** Saves a checkpoint of a run under way. */
  async saveCheckpoint(runId: string): Promise<void> {
    const { step } = await this.#withRuns((runs) => runs.saveCheckpoint(runId));
    await this.home.untilCheckpoint(runId, step);
  }

  /** Ends a run after its current step, with a checkpoint. */
  async stop(runId: string): Promise<void> {
    const { code, stderr } = await this.weft('stop', runId);
    if (code !== 0) throw new Error(`weft stop ended with ${code}: ${stderr}`);
    await this.untilStatus(runId, 'stopped');
  }

  /** Throws unless the run has decided every step once, and consumed every sequence once. */
  async expectWhole(runId: string): Promise<void> {
    const steps = this.home.metrics(runId).map(({ step }) => step);
    expect(steps).toEqual(stepsUpTo(steps.length));
    const check = await this.weft('data', 'ledger', runId, '--check');
    expect(check.code, check.stdout + check.stderr).toBe(0);
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

  /** kill -9 of every coordinator and worker. */
  async killAll(): Promise<void> {
    await Promise.all(this.#daemons.map((daemon) => daemon.kill()));
  }

  /** Two workers come. Once so many runs of a command have ended, it dies with the cluster. Resolves with those that had ended. */
  async killAfterRuns(command: RunningCommand, count: number): Promise<string[]> {
    await this.worker();
    await this.worker();
    await command.until(
      () => `the end of ${count} runs`,
      () => endedRuns(command.stdout).length >= count,
    );
    await this.killAll();
    await command.killAll();
    return endedRuns(command.stdout).map(({ runId }) => runId);
  }

  async remove(): Promise<void> {
    await this.killAll();
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
