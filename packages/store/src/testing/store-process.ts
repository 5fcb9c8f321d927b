import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { waitFor } from '@weft/testing';
import type { StoreOptions } from '../store.js';

const ROOT = fileURLToPath(new URL('../../../..', import.meta.url));

/** Other processes run the built package. */
export function buildStore(): void {
  execFileSync('npx', ['tsc', '-b', 'packages/store'], { cwd: ROOT, stdio: 'inherit' });
}

/** A process that opens a store, takes the lease and runs a script with `store`, `held`, `queue`, `log` and `say`. */
export class StoreProcess {
  /** The lines it printed. */
  readonly lines: string[] = [];
  readonly #child: ChildProcess;

  constructor(options: StoreOptions, script: string) {
    const program = `
      import { openStore } from '@weft/store';
      const say = (line) => process.stdout.write(line + '\\n');
      const store = await openStore(JSON.parse(process.argv[1]));
      const held = await store.lease.acquire('process ' + process.pid);
      const queue = await store.openQueue(held);
      const log = await store.openLog('tiny-1', held);
      ${script}`;
    this.#child = spawn(process.execPath, ['--input-type=module', '--eval', program, JSON.stringify(options)], {
      cwd: ROOT,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    if (this.#child.stdout === null) throw new TypeError('a pipe was asked for');
    createInterface({ input: this.#child.stdout }).on('line', (line) => this.lines.push(line));
  }

  get processId(): number {
    return Number(this.#child.pid);
  }

  waitForLine(pattern: RegExp): Promise<string> {
    return waitFor(`a line like ${pattern}`, () => this.lines.find((line) => pattern.test(line)), {
      timeoutMs: 30_000,
    });
  }

  signal(name: 'SIGSTOP' | 'SIGCONT' | 'SIGUSR2'): void {
    this.#child.kill(name);
  }

  async kill(): Promise<void> {
    const closed = new Promise((resolve) => this.#child.once('close', resolve));
    this.#child.kill('SIGKILL');
    if (this.#child.exitCode === null) await closed;
  }
}
