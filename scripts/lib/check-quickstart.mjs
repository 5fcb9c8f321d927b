import { spawn } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ROOT } from './root.mjs';
import { capture, StageError, seconds } from './stage.mjs';

export const QUICKSTART_SUMMARY_FILE = join(ROOT, '.cache', 'quickstart-summary.json');

const FIRST_LIMIT_MS = 10 * 60_000;
const SECOND_LIMIT_MS = 30_000;
const STEPS = 60;
const LOSS_RATIO = 0.7;

/**
 * Runs the quickstart twice in a fresh clone. The second time it must be quick.
 *
 * @returns {Promise<number>} the exit code
 */
export async function checkQuickstart() {
  const folder = mkdtempSync(join(tmpdir(), 'weft-quickstart-'));
  const verdicts = new Verdicts();
  try {
    const clone = join(folder, 'weft');
    const { exitCode, output } = await capture('git', ['clone', '--quiet', ROOT, clone], { directory: folder });
    if (exitCode !== 0) throw new StageError(`the clone failed: ${output.trim()}`);
    const environment = cleanEnvironment({ WEFT_CACHE_DIR: join(folder, 'cache') });
    if (await firstStart(clone, environment, verdicts)) await secondStart(clone, environment, verdicts);
  } finally {
    rmSync(folder, { recursive: true, force: true });
    verdicts.save();
  }
  return verdicts.failed === 0 ? 0 : 1;
}

/**
 * @param {string} clone
 * @param {NodeJS.ProcessEnv} environment
 * @param {Verdicts} verdicts
 * @returns {Promise<boolean>} whether it came to its end
 */
async function firstStart(clone, environment, verdicts) {
  const startedMs = performance.now();
  const { exitCode } = await quickstart(clone, environment, [], FIRST_LIMIT_MS);
  const tookMs = performance.now() - startedMs;
  verdicts.add(exitCode === 0, `npm run quickstart exits with ${exitCode ?? 'a signal'}`);
  if (exitCode !== 0) return false;
  verdicts.add(tookMs < FIRST_LIMIT_MS, `it takes ${seconds(tookMs)}, of ${seconds(FIRST_LIMIT_MS)} allowed`);
  const run = newestRun(clone);
  const losses = run === undefined ? [] : readLosses(run);
  verdicts.add(losses.length === STEPS, `metrics.jsonl holds ${losses.length} of ${STEPS} steps`);
  const [first, last] = [mean(losses.slice(0, 5)), mean(losses.slice(-5))];
  const fall = `the loss falls from ${first.toFixed(3)} (first five steps) to ${last.toFixed(3)} (last five)`;
  verdicts.add(last < LOSS_RATIO * first, `${fall}, ${(last / first).toFixed(2)} of it, ${LOSS_RATIO} allowed`);
  const manifest = join(run ?? clone, 'checkpoints', `step-${String(STEPS).padStart(8, '0')}`, 'manifest.json');
  verdicts.add(existsSync(manifest), 'the last checkpoint has its manifest');
  return true;
}

/**
 * @param {string} clone
 * @param {NodeJS.ProcessEnv} environment
 * @param {Verdicts} verdicts
 */
async function secondStart(clone, environment, verdicts) {
  const before = newestRun(clone);
  const startedMs = performance.now();
  let firstStepMs = Number.POSITIVE_INFINITY;
  const watch = async () => {
    while (performance.now() - startedMs < 4 * SECOND_LIMIT_MS) {
      const run = newestRun(clone);
      if (run !== undefined && run !== before && readLosses(run).length > 0) {
        firstStepMs = performance.now() - startedMs;
        return;
      }
      await sleep(100);
    }
  };
  const [{ exitCode }] = await Promise.all([
    quickstart(clone, environment, ['--', '--steps', '2'], 4 * SECOND_LIMIT_MS),
    watch(),
  ]);
  verdicts.add(exitCode === 0, `a second start, of two steps, exits with ${exitCode ?? 'a signal'}`);
  verdicts.add(
    firstStepMs < SECOND_LIMIT_MS,
    `it reaches step 1 after ${seconds(firstStepMs)}, of ${seconds(SECOND_LIMIT_MS)} allowed`,
  );
}

/** What passed and what failed, printed at once and counted for scripts. */
class Verdicts {
  passed = 0;
  failed = 0;

  /**
   * @param {boolean} holds
   * @param {string} sentence
   */
  add(holds, sentence) {
    if (holds) this.passed++;
    else this.failed++;
    console.log(`  ${holds ? 'ok    ' : 'FAILED'}  ${sentence}`);
  }

  save() {
    mkdirSync(join(ROOT, '.cache'), { recursive: true });
    writeFileSync(QUICKSTART_SUMMARY_FILE, `${JSON.stringify({ passed: this.passed, failed: this.failed })}\n`);
  }
}

/**
 * Runs it without a terminal and without input; past its time it is ended with everything it started.
 *
 * @param {string} clone
 * @param {NodeJS.ProcessEnv} environment
 * @param {readonly string[]} words
 * @param {number} timeoutMs
 * @returns {Promise<{ exitCode: number | null }>}
 */
async function quickstart(clone, environment, words, timeoutMs) {
  const child = spawn('npm', ['run', 'quickstart', ...words], {
    cwd: clone,
    env: environment,
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
  });
  child.stdout.setEncoding('utf8').on('data', (text) => process.stdout.write(text));
  const timer = setTimeout(() => child.pid !== undefined && process.kill(-child.pid, 'SIGKILL'), timeoutMs);
  try {
    return await new Promise((resolve, reject) => {
      child.once('error', reject).once('close', (exitCode) => resolve({ exitCode }));
    });
  } finally {
    clearTimeout(timer);
  }
}

/**
 * This process's environment as a person's shell would have it: without what npm adds when it runs a script.
 *
 * @param {NodeJS.ProcessEnv} more
 * @returns {NodeJS.ProcessEnv}
 */
function cleanEnvironment(more) {
  const own = Object.entries(process.env).filter(([name]) => !/^(npm_|WEFT_|VITEST|INIT_CWD$)/.test(name));
  return { ...Object.fromEntries(own), ...more };
}

/**
 * @param {string} clone
 * @returns {string | undefined} the folder of the run that began last
 */
function newestRun(clone) {
  const runs = join(clone, '.weft', 'runs');
  if (!existsSync(runs)) return undefined;
  const folders = readdirSync(runs).map((name) => join(runs, name));
  return folders.sort((a, b) => statSync(a).birthtimeMs - statSync(b).birthtimeMs).at(-1);
}

/**
 * @param {string} run
 * @returns {number[]}
 */
function readLosses(run) {
  const path = join(run, 'metrics.jsonl');
  if (!existsSync(path)) return [];
  const lines = readFileSync(path, 'utf8').split('\n').slice(0, -1);
  return lines.map((line) => /** @type {{ loss: number }} */ (JSON.parse(line)).loss);
}

/** @param {readonly number[]} values */
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
