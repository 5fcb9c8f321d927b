import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

export const repository = fileURLToPath(new URL('..', import.meta.url));
export const command = join(repository, 'apps/cli/bin/weft.js');
const demoData = join(repository, '.weft/data/demo');
const POLL_MS = 20;

/** What a finished command printed, and its exit code. */
export interface Output {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** One line of metrics.jsonl, as far as the tests read it. */
export interface Metrics {
  readonly step: number;
  readonly loss: number;
  readonly sequences: Readonly<Record<'captioned' | 'interleaved' | 'text', number>>;
}

/** A home of its own for a test, removed at the end. */
export class Home {
  readonly path: string;

  static async make(): Promise<Home> {
    return new Home(await mkdtemp(join(tmpdir(), 'weft-e2e-')));
  }

  private constructor(path: string) {
    this.path = path;
  }

  /** Runs a command to its end. */
  weft(...args: string[]): Promise<Output> {
    return new Promise((resolve) => {
      const child = execFile(
        process.execPath,
        [command, ...args, '--home', this.path],
        { cwd: repository, maxBuffer: 2 ** 26 },
        (_, stdout, stderr) => resolve({ code: child.exitCode, stdout, stderr }),
      );
    });
  }

  /** Starts a command that goes on in the background. */
  start(...args: string[]): RunningCommand {
    return new RunningCommand(
      spawn(process.execPath, [command, ...args, '--home', this.path, '--json'], {
        cwd: repository,
        stdio: ['ignore', 'pipe', 'pipe'],
      }),
    );
  }

  /** Trains a recipe on the demo data with local workers, to its end. */
  async train(recipe: string, workers: number, settings: Readonly<Record<string, string | number>>): Promise<string> {
    const run = this.start('launch', recipe, '--local', String(workers), ...withSettings(settings));
    const output = await run.ended;
    if (output.code !== 0) throw new Error(`weft launch ended with ${output.code}: ${output.stderr}\n${output.stdout}`);
    return run.runId();
  }

  /** The coordinator that serves this home. */
  async coordinator(): Promise<{ readonly address: string; readonly metricsAddress: string }> {
    return JSON.parse(readFileSync(join(this.path, 'coordinator.json'), 'utf8'));
  }

  /** Where the first local worker of the newest launch shows its metrics, from its log. */
  workerMetricsAddress(): string {
    const logs = join(this.path, 'logs');
    const newest = readdirSync(logs).sort().at(-1) ?? '';
    const address = /"metricsAddress":"([^"]+)"/.exec(readFileSync(join(logs, newest, 'worker-0.log'), 'utf8'))?.[1];
    if (address === undefined) throw new Error('worker 0 has not logged the address of its metrics');
    return address;
  }

  runDirectory(runId: string): string {
    return join(this.path, 'runs', runId);
  }

  /** The metrics of a run by step; throws when a step is there twice. */
  metrics(runId: string): Metrics[] {
    const path = join(this.runDirectory(runId), 'metrics.jsonl');
    if (!existsSync(path)) return [];
    // The last line may still be on its way to the disk.
    const lines = readFileSync(path, 'utf8').split('\n').slice(0, -1);
    const metrics = lines.map((line) => JSON.parse(line) as Metrics);
    const steps = metrics.map(({ step }) => step);
    if (new Set(steps).size !== steps.length) throw new Error(`a step is there twice: ${steps}`);
    return metrics;
  }

  /** Resolves when the run has decided `step`. */
  async untilStep(runId: string, step: number): Promise<void> {
    while ((this.metrics(runId).at(-1)?.step ?? 0) < step) await sleep(POLL_MS);
  }

  /** Resolves when the log of the run names the checkpoint of `step`. It is written while the next steps are trained. */
  async untilCheckpoint(runId: string, step: number): Promise<void> {
    const path = join(this.runDirectory(runId), 'events.jsonl');
    const written = new RegExp(`^(?=.*"kind":"checkpointWritten").*"step":${step}\\b`, 'm');
    while (!existsSync(path) || !written.test(readFileSync(path, 'utf8'))) await sleep(POLL_MS);
  }

  async remove(): Promise<void> {
    await rm(this.path, { recursive: true, force: true });
  }
}

/** A command that is running. */
export class RunningCommand {
  readonly ended: Promise<Output>;
  readonly process: ChildProcess;
  #stdout = '';
  #stderr = '';

  constructor(child: ChildProcess) {
    this.process = child;
    child.stdout?.on('data', (chunk) => {
      this.#stdout += chunk;
    });
    child.stderr?.on('data', (chunk) => {
      this.#stderr += chunk;
    });
    this.ended = new Promise((resolve) => {
      child.once('close', (code) => resolve({ code, stdout: this.#stdout, stderr: this.#stderr }));
    });
  }

  /** What it has written so far. */
  get stdout(): string {
    return this.#stdout;
  }

  /** The run that this launch or resume began. */
  async runId(): Promise<string> {
    for (;;) {
      const id = /"runId":"([^"]+)"/.exec(this.#stdout)?.[1];
      if (id !== undefined) return id;
      if (this.process.exitCode !== null) throw new Error(`no run began: ${this.#stderr}${this.#stdout}`);
      await sleep(POLL_MS);
    }
  }

  /** The processes that the command started: its coordinator, its workers. */
  children(app: 'coordinator' | 'worker' | 'expert-worker'): number[] {
    return childrenOf(this.process.pid ?? 0).filter((pid) => commandLine(pid)[2] === app);
  }

  /** kill -9 of the command and every process it started, all at once. */
  async killAll(): Promise<void> {
    const pids = [
      this.process.pid ?? 0,
      ...this.children('coordinator'),
      ...this.children('worker'),
      ...this.children('expert-worker'),
    ];
    for (const pid of pids) process.kill(pid, 'SIGKILL');
    await this.ended;
  }
}

function childrenOf(parent: number): number[] {
  const isProcess = (name: string) => /^\d+$/.test(name);
  return readdirSync('/proc')
    .filter(isProcess)
    .map(Number)
    .filter((pid) => {
      // pid (name) state parent …; the name may hold spaces and parentheses.
      const stat = readProcessFile(pid, 'stat');
      return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]) === parent;
    });
}

function commandLine(pid: number): string[] {
  return readProcessFile(pid, 'cmdline').split('\0');
}

/** Empty when the process is gone. */
function readProcessFile(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    return '';
  }
}

/** `--set` for each setting, with the demo data of this checkout and one thread a worker. */
export function withSettings(settings: Readonly<Record<string, string | number>>): string[] {
  const all = { 'data.directory': demoData, 'engine.threadsPerWorker': 1, ...settings };
  return Object.entries(all).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
}

/** The largest relative difference between two runs' losses, step by step. */
export function lossDifference(a: readonly Metrics[], b: readonly Metrics[]): number {
  if (a.length !== b.length) return Number.POSITIVE_INFINITY;
  return Math.max(...a.map(({ step, loss }, i) => (b[i]?.step === step ? Math.abs(loss / b[i].loss - 1) : Infinity)));
}
