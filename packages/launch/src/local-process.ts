import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { isJsonObject } from '@weft/common';
import { type MemoryWatch, shortPath, watchMemory } from '@weft/files';

/** How a process ended. */
export interface ProcessExit {
  readonly process: LocalProcess;
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** How a `LocalProcess` is started. */
export interface LocalProcessOptions {
  /** Its name in messages: "the coordinator", "worker 1". */
  readonly name: string;
  /** The file that Node runs as the command `weft`. */
  readonly script: string;
  /** Arguments of `weft`. */
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Receives stdout and stderr. */
  readonly logFile: string;
}

/**
 * A `weft` process of this machine that cannot outlive this one: it holds the other end of a pipe and ends when the pipe
 * closes. It has a process group of its own, so Ctrl-C in the terminal reaches only this process.
 */
export class LocalProcess {
  readonly name: string;
  readonly logFile: string;
  /** Resolves when the process has ended, or could not be started. */
  readonly exited: Promise<ProcessExit>;
  readonly #child: ChildProcess;
  #exit: ProcessExit | undefined;
  readonly #memory: Promise<MemoryWatch | undefined>;

  constructor({ name, script, args, env, logFile }: LocalProcessOptions) {
    this.name = name;
    this.logFile = logFile;
    const log = openSync(logFile, 'a');
    this.#child = spawn(process.execPath, [script, ...args, '--exit-with-stdin'], {
      stdio: ['pipe', log, log],
      env: { ...env },
      detached: true,
    });
    closeSync(log);
    const { pid } = this.#child;
    this.#memory = pid === undefined ? Promise.resolve(undefined) : watchMemory(pid);
    // A process that has ended breaks the pipe; `exited` reports it.
    this.#child.stdin?.on('error', () => {});
    this.exited = new Promise((resolve) => {
      const settle = (exitCode: number | null, signal: NodeJS.Signals | null) => {
        this.#exit ??= { process: this, exitCode, signal };
        resolve(this.#exit);
      };
      this.#child.once('exit', settle);
      this.#child.once('error', () => settle(null, null));
    });
  }

  get processId(): number | undefined {
    return this.#child.pid;
  }

  get exit(): ProcessExit | undefined {
    return this.#exit;
  }

  /** Asks it to end by closing its pipe; kills it after `graceMs`. */
  async stop(graceMs: number): Promise<void> {
    this.#child.stdin?.end();
    const killing = setTimeout(() => this.kill(), graceMs);
    await this.exited;
    clearTimeout(killing);
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }

  /** Why it ended, from its log when possible; without a full stop. */
  async exitReason(): Promise<string> {
    const log = await readFile(this.logFile, 'utf8').catch(() => '');
    const { exitCode, signal } = this.#exit ?? { exitCode: null, signal: null };
    const words = lastLogLine(log)?.replace(/\.$/, '');
    if (signal === 'SIGKILL' && (await (await this.#memory)?.wasKilled()) === true)
      return `${this.name} was killed for want of memory: take a smaller microbatchSize, fewer workers, or a machine with more memory`;
    if (signal !== null)
      return `${this.name} was killed by ${signal}${words === undefined ? `, see ${shortPath(this.logFile)}` : `: ${words}`}`;
    return words === undefined
      ? `${this.name} ended with exit code ${exitCode}, see ${shortPath(this.logFile)}`
      : `${this.name} ended: ${words}`;
  }
}

/**
 * The reason why a process ended, from the end of its log: the `error: …` line of a command, the last error of a JSON log,
 * the message of an uncaught exception, or the line with which native code ends its process. `undefined` when there is none.
 */
export function lastLogLine(log: string): string | undefined {
  const lines = log.split('\n').filter((line) => line.trim() !== '');
  for (const line of lines.toReversed()) {
    const sentence = fromCommand(line) ?? fromJson(line) ?? fromException(line) ?? fromNative(line);
    if (sentence !== undefined) return sentence;
  }
  return undefined;
}

const fromCommand = (line: string) => line.match(/^error: (.+)$/)?.[1];

/** `TypeError: x is not a function`, `Error [ERR_X]: …`, but no line of the stack below it. */
const fromException = (line: string) => line.match(/^(?:Uncaught )?\w*Error(?: \[\w+\])?: (.+)$/)?.[1];

/** What XLA and TensorFlow write before they abort: `F0000 00:00:1795959751.5 27289 stream.cc:74] Check failed: ok`. */
const fromNative = (line: string) => line.match(/^F\d{4} \S+\s+\d+ \S+\] (.+)$/)?.[1];

function fromJson(line: string): string | undefined {
  if (!line.startsWith('{')) return undefined;
  try {
    const entry: unknown = JSON.parse(line);
    if (!isJsonObject(entry) || (entry.level !== 'error' && entry.level !== 'fatal')) return undefined;
    const message = textOf(entry.message);
    const detail = isJsonObject(entry.error) ? textOf(entry.error.message) : undefined;
    if (message === undefined || detail === undefined || message.includes(detail)) return message ?? detail;
    return `${message}: ${detail}`;
  } catch {
    return undefined;
  }
}

const textOf = (value: unknown) => (typeof value === 'string' ? value : undefined);
