import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ROOT } from './root.mjs';

const WEFT = join(ROOT, 'apps/cli/bin/weft.js');
const RESTART_MS = 1000;

/** A long-lived command of Weft that is started again a second after it has ended, as a supervisor does. */
export class Supervised {
  /** @type {import('node:child_process').ChildProcess | undefined} */
  #child;
  #isOver = false;
  /** It stays down until this is false again. */
  isHeld = false;
  restarts = 0;

  /**
   * @param {string} name of its log file
   * @param {string[]} words
   * @param {{ home: string, logs: string, inside?: string[], env?: Record<string, string> }} where
   */
  constructor(name, words, where) {
    this.name = name;
    this.words = words;
    this.where = where;
    this.#start();
  }

  get pid() {
    return this.#child?.pid;
  }

  get isAlive() {
    const child = this.#child;
    return child !== undefined && child.exitCode === null && child.signalCode === null;
  }

  /** @param {NodeJS.Signals} name */
  signal(name) {
    this.#child?.kill(name);
  }

  /** kill -9. @returns {Promise<void>} once it is gone */
  async kill() {
    const child = this.#child;
    if (child === undefined || !this.isAlive) return;
    const gone = new Promise((resolve) => child.once('close', resolve));
    child.kill('SIGKILL');
    await gone;
  }

  /** Ends it for good. */
  async end() {
    this.#isOver = true;
    await this.kill();
  }

  #start() {
    const { home, logs, inside = [], env = {} } = this.where;
    const [program = '', ...args] = [
      ...inside,
      ...[process.execPath, WEFT, ...this.words, '--home', home, '--exit-with-stdin'],
    ];
    mkdirSync(logs, { recursive: true });
    const log = openSync(join(logs, `${this.name}.log`), 'a');
    const child = spawn(program, args, {
      cwd: ROOT,
      stdio: ['pipe', log, log],
      env: { ...process.env, ...env },
    });
    child.stdin?.on('error', () => {});
    this.#child = child;
    child.once('close', async () => {
      do await sleep(RESTART_MS);
      while (this.isHeld && !this.#isOver);
      if (this.#isOver) return;
      this.restarts++;
      this.#start();
    });
  }
}

/**
 * Runs a command of Weft to its end.
 *
 * @param {string} home
 * @param {string[]} words
 * @param {Record<string, string>} env
 */
export function weftIn(home, words, env = {}) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [WEFT, ...words, '--home', home], {
    cwd: ROOT,
    encoding: 'utf8',
    env: { ...process.env, ...env },
  });
  return { code: status, stdout, stderr };
}

/**
 * The rows of a run's metrics, as far as they are whole.
 *
 * @param {string} home
 * @param {string} runId
 * @returns {Record<string, any>[]}
 */
export function metricsOf(home, runId) {
  const path = join(home, 'runs', runId, 'metrics.jsonl');
  const lines = existsSync(path) ? readFileSync(path, 'utf8').split('\n').slice(0, -1) : [];
  return lines.flatMap((line) => {
    try {
      return [JSON.parse(line)];
    } catch {
      return [];
    }
  });
}

/**
 * @param {string} what
 * @param {() => unknown} isSo
 * @returns {Promise<number>} after how many seconds it was so
 */
export async function until(what, isSo, limitSeconds = 180) {
  const beganMs = performance.now();
  while (!(await isSo())) {
    if (performance.now() - beganMs > limitSeconds * 1000) throw new Error(`waited ${limitSeconds} s for ${what}`);
    await sleep(100);
  }
  return (performance.now() - beganMs) / 1000;
}
