import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';

export const repository = fileURLToPath(new URL('..', import.meta.url));
export const command = join(repository, 'apps/cli/bin/weft.js');
const demoData = join(repository, '.weft/data/demo');
const POLL_MS = 20;
/** Only what never happens takes so long: a loaded machine does not. */
const WAIT_LIMIT_MS = 150_000;
/** `sysconf(_SC_CLK_TCK)`, the unit of times in /proc: 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;

/**
 * A run that cannot end before the test ends it, however fast the machine is. Its learning rate does not depend on the
 * number of steps, so that a run of any other length has the same losses as far as it goes. Where the last bit matters, the other
 * must be endless too: the sizes of batches of images depend on the number of steps.
 */
export const ENDLESS = {
  steps: 1_000_000,
  'optimizer.warmupSteps': 2,
  'optimizer.finalLearningRateRatio': 1,
} as const;

/**
 * Holds a measured time to its bar where times are tested, with WEFT_TEST_TIMES=1 on a quiet machine: nowhere else does a
 * time say anything.
 */
export function expectUnder(limitMs: number, measuredMs: number): void {
  if (process.env.WEFT_TEST_TIMES === '1') expect(measuredMs).toBeLessThan(limitMs);
}

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
  readonly sourceLoss: Readonly<Record<string, number>>;
}

/** One record of a run's log, as far as the tests read it. */
export interface LogRecord {
  readonly kind: string;
  readonly time: string;
  readonly step?: number;
  readonly generation?: number;
  readonly reason?: string;
  readonly workerId?: string;
  readonly workers?: readonly { readonly workerId: string }[];
  readonly newcomers?: readonly string[];
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

  /** The newest step that the run has decided; 0 before the first. */
  lastStep(runId: string): number {
    return this.metrics(runId).at(-1)?.step ?? 0;
  }

  /** Resolves when the run has decided `step`. */
  async untilStep(runId: string, step: number): Promise<void> {
    await until(
      () => `step ${step} of ${runId}, which is at step ${this.lastStep(runId)}`,
      () => this.lastStep(runId) >= step,
    );
  }

  /** The log of the run: every record in order, from a coordinator that keeps its logs in files. */
  records(runId: string): LogRecord[] {
    const path = join(this.runDirectory(runId), 'events.jsonl');
    if (!existsSync(path)) return [];
    // The last line may still be on its way to the disk.
    const lines = readFileSync(path, 'utf8').split('\n').slice(0, -1);
    return lines.map((line) => (JSON.parse(line) as { record: LogRecord }).record);
  }

  /** Resolves when the log of the run has such a record so many times. */
  async untilRecord(runId: string, fits: (record: LogRecord) => boolean, what: string, count = 1): Promise<void> {
    await until(
      () => `${what} in the log of ${runId}, whose records are ${this.records(runId).map(({ kind }) => kind)}`,
      () => this.records(runId).filter(fits).length >= count,
    );
  }

  /** Resolves when the run has trained `steps` steps in its generation of this number, counted from the first. */
  async untilTrainedIn(runId: string, generation: number, steps: number): Promise<void> {
    const isItsStart = ({ kind, generation: at }: LogRecord) => kind === 'assigned' && at === generation;
    const committed = () => {
      const records = this.records(runId);
      const start = records.findIndex(isItsStart);
      return start < 0 ? 0 : records.slice(start).filter(({ kind }) => kind === 'committed').length;
    };
    await until(
      () => `step ${steps} of generation ${generation} of ${runId}, which has ${committed()}`,
      () => committed() >= steps,
    );
  }

  /** Why the run lost workers, one reason for each. */
  lostWorkers(runId: string): string[] {
    return this.records(runId).flatMap(({ kind, reason }) => (kind === 'workerLost' ? [reason ?? ''] : []));
  }

  /** Resolves when the log of the run names the checkpoint of `step` or a later one. */
  async untilCheckpoint(runId: string, step: number): Promise<void> {
    const isWritten = ({ kind, step: of = 0 }: LogRecord) => kind === 'checkpointWritten' && of >= step;
    await this.untilRecord(runId, isWritten, `a checkpoint of step ${step} or later`);
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
    const id = () => /"runId":"([^"]+)"/.exec(this.#stdout)?.[1];
    await this.until(
      () => 'a run',
      () => id() !== undefined,
    );
    return id() ?? '';
  }

  /** As `until`, but at an end when the command has ended. */
  async until(what: () => string, isSo: () => boolean | Promise<boolean>): Promise<void> {
    const printed = () => `${this.#stderr}${this.#stdout}`.slice(-2000);
    await until(
      () => `${what()}: ${printed()}`,
      async () => {
        // Before the question, because its last words may be the answer.
        const hasEnded = this.process.exitCode !== null || this.process.signalCode !== null;
        if (await isSo()) return true;
        if (hasEnded) throw new Error(`it ended without ${what()}: ${printed()}`);
        return false;
      },
    );
  }

  /** Ctrl-C: the run stops with a checkpoint of its last step. */
  async interrupt(): Promise<Output> {
    this.process.kill('SIGINT');
    const output = await this.ended;
    if (output.code !== 130) throw new Error(`an interrupted run ended with ${output.code}: ${output.stderr}`);
    return output;
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
    for (const pid of pids) kill(pid);
    await this.ended;
  }
}

/** kill -9; those who watch over a process that was killed may be gone already. */
function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
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

/** Processor time that a process has spent, or its children that have ended. */
export function processorMs(pid: number | 'self', whose: 'own' | 'children'): number {
  const stat = readProcessFile(pid, 'stat');
  // After "pid (name)" come state and other fields; the 14th to 17th of all are utime, stime, cutime, cstime.
  const times = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .slice(11, 15)
    .map(Number);
  const [user = 0, system = 0] = whose === 'own' ? times : times.slice(2);
  return (user + system) * (1000 / TICKS_PER_SECOND);
}

function commandLine(pid: number): string[] {
  return readProcessFile(pid, 'cmdline').split('\0');
}

/** Empty when the process is gone. */
function readProcessFile(pid: number | 'self', file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    return '';
  }
}

/**
 * Waits for a condition, which may take as long as a busy machine needs.
 *
 * @param what names it when it never comes
 */
export async function until(what: () => string, isSo: () => boolean | Promise<boolean>): Promise<void> {
  const endMs = performance.now() + WAIT_LIMIT_MS;
  while (!(await isSo())) {
    if (performance.now() > endMs) throw new Error(`waited ${WAIT_LIMIT_MS / 1000} s for ${what()}`);
    await sleep(POLL_MS);
  }
}

/** `--set` for each setting, with the demo data of this checkout and one thread a worker. */
export function withSettings(settings: Readonly<Record<string, string | number>>): string[] {
  const all = { 'data.directory': demoData, 'engine.threadsPerWorker': 1, ...settings };
  return Object.entries(all).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
}

/** The steps of a run that has decided every one of them up to `last`, once. */
export function stepsUpTo(last: number): number[] {
  return Array.from({ length: last }, (_, i) => i + 1);
}

/** The largest relative difference between two runs' losses, step by step; infinite where the steps are not the same. */
export function lossDifference(a: readonly Metrics[], b: readonly Metrics[]): number {
  if (a.length !== b.length || a.length === 0) return Number.POSITIVE_INFINITY;
  return Math.max(...a.map(({ step, loss }, i) => (b[i]?.step === step ? Math.abs(loss / b[i].loss - 1) : Infinity)));
}

/** The lines of JSON among those that a command printed with `--json`. */
export const jsonLines = (text: string) =>
  text.split('\n').flatMap((line) => (line.startsWith('{') && line.endsWith('}') ? [JSON.parse(line)] : []));

/** What a sweep or an ablation printed of the runs that have ended. */
export const endedRuns = <Facts extends { readonly runId: string }>(text: string): Facts[] =>
  jsonLines(text).filter(({ type }) => type === 'runEnded');
