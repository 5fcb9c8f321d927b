import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { waitFor } from '@weft/testing';
import { WEFT_SCRIPT } from '../local-processes.js';

const TIMEOUT_MS = 120_000;

type JsonLine = Readonly<Record<string, unknown>>;

/** The built `weft` command as a process of its own, speaking JSON. */
export class WeftProcess {
  readonly #child: ChildProcess;
  #out = '';
  #err = '';
  readonly ended: Promise<number | null>;

  constructor(home: string, ...args: string[]) {
    const env = { ...process.env, WEFT_HOME: home, WEFT_COORDINATOR: '' };
    this.#child = spawn(process.execPath, [WEFT_SCRIPT, ...args, '--json'], { env, stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child.stdout?.on('data', (chunk) => {
      this.#out += chunk;
    });
    this.#child.stderr?.on('data', (chunk) => {
      this.#err += chunk;
    });
    this.ended = new Promise((resolve) => this.#child.once('close', resolve));
  }

  /** Every whole line so far. */
  get lines(): JsonLine[] {
    const whole = this.#out.slice(0, this.#out.lastIndexOf('\n') + 1).split('\n');
    return whole.filter((line) => line !== '').map((line) => JSON.parse(line));
  }

  get error(): JsonLine | undefined {
    return this.#err === '' ? undefined : JSON.parse(this.#err).error;
  }

  /** The first line that fits, when it comes. */
  line(type: string, fits: (line: JsonLine) => boolean = () => true): Promise<JsonLine> {
    const find = () => this.lines.find((line) => line.type === type && fits(line));
    const hasEnded = () => this.#child.exitCode !== null || this.#child.signalCode !== null;
    return waitFor(`a line of type ${type}`, () => find() ?? (hasEnded() ? { type: 'ended' } : undefined), {
      timeoutMs: TIMEOUT_MS,
    }).then((line) => {
      if (line.type !== type) throw new Error(`weft ended without a line of type ${type}: ${this.#err}${this.#out}`);
      return line;
    });
  }

  /** The processes it has started and that still live. */
  get children(): number[] {
    const path = `/proc/${this.#child.pid}/task/${this.#child.pid}/children`;
    return readFileSync(path, 'utf8').split(' ').filter(Boolean).map(Number);
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }
}

/** Whether a process lives; one that has ended and waits to be collected does not. */
export function lives(processId: number): boolean {
  try {
    return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${processId}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

/** The smallest data set there is: a little text, and settings that train on nothing else. */
export async function writeTextData(home: string): Promise<string[]> {
  const directory = join(home, 'data');
  await mkdir(join(directory, 'text'), { recursive: true });
  const document = (at: number) =>
    JSON.stringify({ text: `Document ${at}: ${'the quick brown fox jumps. '.repeat(9)}` });
  await writeFile(
    join(directory, 'text', 'fox.jsonl'),
    Array.from({ length: 50 }, (_, at) => `${document(at)}\n`).join(''),
  );
  return ['--set', `data.directory=${directory}`, 'data.weights=0:0:1', 'engine.threadsPerWorker=1'];
}
