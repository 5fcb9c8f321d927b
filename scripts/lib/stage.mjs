// What a person sees while a script works: one line a stage, rewritten on a terminal, plain lines elsewhere.

import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { ROOT } from './root.mjs';

/** @typedef {{ update(text: string): void; note(text: string): void }} Report */

/** A stage that failed: what was printed is enough, no stack helps. */
export class StageError extends Error {
  /**
   * @param {string} message
   * @param {string} [hint] an imperative sentence without a final full stop
   */
  constructor(message, hint) {
    super(message);
    this.hint = hint;
  }
}

const PLAIN_INTERVAL_MS = 5_000;

/** Stages with a common count: `[2/5] build: …`. */
export class Stages {
  #done = 0;
  #total;

  /** @param {number} total */
  constructor(total) {
    this.#total = total;
  }

  /**
   * Runs one stage and prints how it ended: what `work` returns, or that it failed.
   *
   * @param {string} name
   * @param {(report: Report) => Promise<string>} work
   * @returns {Promise<void>}
   */
  async run(name, work) {
    const startedMs = performance.now();
    const title = this.#nextTitle(name);
    const line = new StatusLine(title);
    try {
      const result = await work(line);
      line.end(`${title} ${result} (${seconds(performance.now() - startedMs)})`);
    } catch (error) {
      line.end(`${title} failed (${seconds(performance.now() - startedMs)})`);
      throw error;
    }
  }

  /**
   * Runs one stage whose programs print on this terminal themselves.
   *
   * @param {string} name
   * @param {() => Promise<void>} work
   * @returns {Promise<void>}
   */
  async runAloud(name, work) {
    process.stdout.write(`${this.#nextTitle(name)}\n`);
    await work();
  }

  /** @param {string} name */
  #nextTitle(name) {
    return `[${++this.#done}/${this.#total}] ${name}:`;
  }
}

/** @implements {Report} */
class StatusLine {
  #title;
  #shownMs = performance.now();
  #isTerminal = process.stdout.isTTY === true;

  /** @param {string} title */
  constructor(title) {
    this.#title = title;
    if (this.#isTerminal) this.update('…');
  }

  /** @param {string} text replaces what was there */
  update(text) {
    const now = performance.now();
    if (this.#isTerminal) {
      const columns = process.stdout.columns || 80;
      process.stdout.write(`\r\x1b[K${`${this.#title} ${text}`.slice(0, columns - 1)}`);
    } else if (now - this.#shownMs > PLAIN_INTERVAL_MS) {
      this.#shownMs = now;
      process.stdout.write(`${this.#title} ${text}\n`);
    }
  }

  /** @param {string} text stays on a line of its own */
  note(text) {
    process.stdout.write(`${this.#isTerminal ? '\r\x1b[K' : ''}${this.#title} ${text}\n`);
  }

  /** @param {string} text */
  end(text) {
    process.stdout.write(`${this.#isTerminal ? '\r\x1b[K' : ''}${text}\n`);
  }
}

/** @param {number} durationMs */
export const seconds = (durationMs) => `${(durationMs / 1000).toFixed(1)} s`;

/**
 * Runs a program, keeps what it prints and shows the last line of it while it works.
 *
 * @param {string} program
 * @param {readonly string[]} words
 * @param {{ report?: Report; environment?: NodeJS.ProcessEnv; directory?: string; onText?: (text: string) => void }} [options]
 * @returns {Promise<{ exitCode: number; output: string }>}
 */
export async function capture(program, words, { report, environment = process.env, directory = ROOT, onText } = {}) {
  const child = spawn(program, words, { cwd: directory, env: environment, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (/** @type {string} */ text) => {
      output += text;
      onText?.(text);
      const last = output.trimEnd().split('\n').at(-1)?.trim();
      if (last) report?.update(last);
    });
  }
  return { exitCode: await exitOf(child, program), output };
}

/**
 * Runs a program on this terminal.
 *
 * @param {string} program
 * @param {readonly string[]} words
 * @param {{ environment?: NodeJS.ProcessEnv; directory?: string }} [options]
 * @returns {Promise<number>} its exit code
 */
export async function inherit(program, words, { environment = process.env, directory = ROOT } = {}) {
  const child = spawn(program, words, { cwd: directory, env: environment, stdio: 'inherit' });
  // Ctrl-C reaches the child too, and it ends in its own way; a signal to this process alone is passed on.
  const wait = () => {};
  const passOn = (/** @type {NodeJS.Signals} */ signal) => void child.kill(signal);
  process.on('SIGINT', wait).on('SIGTERM', passOn).on('SIGHUP', passOn);
  try {
    return await exitOf(child, program);
  } finally {
    process.off('SIGINT', wait).off('SIGTERM', passOn).off('SIGHUP', passOn);
  }
}

/**
 * @param {import('node:child_process').ChildProcess} child
 * @param {string} program
 * @returns {Promise<number>}
 */
function exitOf(child, program) {
  return new Promise((resolve, reject) => {
    child.once('error', (error) => reject(new StageError(`${program} could not be started: ${error.message}`)));
    child.once('close', (code, signal) => resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])));
  });
}

/**
 * The frame of a script: an error that is a person's to solve is one sentence, any other keeps its stack.
 *
 * @param {() => Promise<number>} main returns the exit code
 */
export async function runScript(main) {
  try {
    process.exitCode = await main();
  } catch (error) {
    process.exitCode = 1;
    if (error instanceof StageError) console.error(`error: ${error.message}${error.hint ? `: ${error.hint}.` : ''}`);
    else console.error(error);
  }
}
