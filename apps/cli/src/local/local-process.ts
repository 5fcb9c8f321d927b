import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { shortPath } from '../home.js';
import { lastWords } from './last-words.js';

/** The `weft` command itself; the same file seen from `src` and from `dist`. */
export const WEFT_SCRIPT = fileURLToPath(new URL('../../bin/weft.js', import.meta.url));

/** How a process ended. */
export interface Ending {
  readonly process: LocalProcess;
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface LocalProcessOptions {
  /** What people call it: "the coordinator", "worker 1". */
  readonly name: string;
  /** Arguments of `weft`. */
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Takes both its outputs. */
  readonly logFile: string;
}

/**
 * A `weft` process of this machine that cannot outlive us: it holds the other end of a pipe and leaves when the pipe
 * closes. It has a process group of its own, so that Ctrl-C reaches only the command that a person looks at.
 */
export class LocalProcess {
  readonly name: string;
  readonly logFile: string;
  /** Resolves when the process is gone, also when it could not be started. */
  readonly ended: Promise<Ending>;
  readonly #child: ChildProcess;
  #ending: Ending | undefined;

  constructor({ name, args, env, logFile }: LocalProcessOptions) {
    this.name = name;
    this.logFile = logFile;
    const log = openSync(logFile, 'a');
    this.#child = spawn(process.execPath, [WEFT_SCRIPT, ...args, '--exit-with-stdin'], {
      stdio: ['pipe', log, log],
      env: { ...env },
      detached: true,
    });
    closeSync(log);
    // A process that is already gone breaks the pipe; `ended` tells of it.
    this.#child.stdin?.on('error', () => {});
    this.ended = new Promise((resolve) => {
      const settle = (exitCode: number | null, signal: NodeJS.Signals | null) => {
        this.#ending ??= { process: this, exitCode, signal };
        resolve(this.#ending);
      };
      this.#child.once('exit', settle);
      this.#child.once('error', () => settle(null, null));
    });
  }

  get processId(): number | undefined {
    return this.#child.pid;
  }

  get ending(): Ending | undefined {
    return this.#ending;
  }

  /** Asks it to leave by closing its pipe; after `graceMs` it is killed. */
  async stop(graceMs: number): Promise<void> {
    this.#child.stdin?.end();
    const killing = setTimeout(() => this.kill(), graceMs);
    await this.ended;
    clearTimeout(killing);
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }

  /** Why it died, in its own words where it had any; without a full stop. */
  async obituary(): Promise<string> {
    const log = await readFile(this.logFile, 'utf8').catch(() => '');
    const { exitCode, signal } = this.#ending ?? { exitCode: null, signal: null };
    const manner = signal !== null ? `was killed by ${signal}` : `ended with exit code ${exitCode}`;
    const words = lastWords(log);
    return words === undefined
      ? `${this.name} ${manner}, see ${shortPath(this.logFile)}`
      : `${this.name} ended: ${words.replace(/\.$/, '')}`;
  }
}
