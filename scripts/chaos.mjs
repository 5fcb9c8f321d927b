// Trains on three workers while one fault after the other is done to them, and checks that nothing of the run is lost:
//   npm run chaos -- [--minutes 10] [--scenario kill,stop,…] [--seed 1] [--redis] [--list]
// After every fault all three must train again within three minutes. At the end the ledger must be whole, every step be there once, and
// the losses those of an undisturbed run to 1e-4. Ends with 1 where one of these is not so. Faults of the network need root and
// `ip`, the full disk needs root, and Redis needs `redis-server`; what a machine lacks is said and left out. It needs the demo data of
// `npm run quickstart` or `npm run test:e2e`, and `npx tsc -b`. KEEP=1 keeps the folder, with the logs of all processes.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { FAULTS, Redis } from './lib/chaos-faults.mjs';
import { canMakeNamespaces, Namespaces } from './lib/namespaces.mjs';
import { ROOT } from './lib/root.mjs';
import { metricsOf, Supervised, until, weftIn } from './lib/supervised.mjs';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    scenario: { type: 'string' },
    seed: { type: 'string', default: '1' },
    redis: { type: 'boolean', default: false },
    list: { type: 'boolean', default: false },
  },
});
const WORKERS = 3;
const HOME_BYTES = '512m';
const MOST_RECOVERY_SECONDS = 180;
const COMPARED_STEPS = 200;

if (values.list) {
  for (const [name, { what, needs }] of Object.entries(FAULTS))
    console.log(`${name.padEnd(12)} ${what}${needs === undefined ? '' : ` (needs ${needs})`}`);
  process.exit();
}
const unknown = values.scenario?.split(',').find((name) => FAULTS[name] === undefined);
if (unknown !== undefined) {
  console.error(`there is no scenario ${unknown}; the scenarios are ${Object.keys(FAULTS).join(', ')}`);
  process.exit(2);
}

/** Whole numbers below a bound, the same for the same seed. @param {number} seed */
function randomOf(seed) {
  let state = seed >>> 0;
  return (/** @type {number} */ below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const folder = mkdtempSync(join(tmpdir(), 'weft-chaos-'));
const home = join(folder, 'home');
const logs = join(folder, 'logs');
const random = randomOf(Number(values.seed));
/** @type {string[]} */
const problems = [];
mkdirSync(home);
const isOnTmpfs =
  spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${HOME_BYTES}`, 'tmpfs', home], { stdio: 'ignore' }).status === 0;
const namespaces = canMakeNamespaces() ? new Namespaces(WORKERS) : undefined;
const redis = values.redis ? new Redis(await freePort(), folder) : undefined;
const env = redis === undefined ? {} : { WEFT_REDIS_URL: redis.url };
/** @type {Supervised[]} */
const coordinators = [];
/** @type {Supervised[]} */
const workers = [];

/** @returns {Promise<number>} */
function freePort() {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}

/** @param {string[]} words */
function weft(...words) {
  const { code, stdout, stderr } = weftIn(home, words, env);
  if (code !== 0) throw new Error(`weft ${words.join(' ')} ended with ${code}: ${stderr}${stdout}`);
  return stdout;
}

/** As the coordinator, or the files of the home, have it. @param {string} runId @returns {Record<string, any> | undefined} */
function statusOf(runId) {
  const { code, stdout } = weftIn(home, ['status', runId, '--json'], env);
  return code === 0 ? JSON.parse(stdout) : undefined;
}

const settings = (/** @type {Record<string, string | number>} */ more) =>
  Object.entries({
    'data.directory': join(ROOT, '.weft/data/demo'),
    'engine.threadsPerWorker': 1,
    'engine.backend': 'javascript',
    'checkpoint.everySteps': 100,
    ...more,
  }).flatMap(([key, value]) => ['--set', `${key}=${value}`]);

/** A busy machine may take its time to answer. @param {Record<string, string | number>} more @returns {Promise<string>} */
async function launch(more) {
  let runId = '';
  await until('a run to be launched', () => {
    const { code, stdout } = weftIn(home, ['launch', 'debugNano', '--detach', '--json', ...settings(more)], env);
    if (code === 0) runId = JSON.parse(stdout).runId;
    return code === 0;
  });
  return runId;
}

const lastStep = (/** @type {string} */ runId) => metricsOf(home, runId).at(-1)?.step ?? 0;

/** Waits until all workers train again; a run that a fault may end is resumed. @param {string} runId @param {boolean} mayFail */
async function recovered(runId, mayFail) {
  const step = lastStep(runId);
  return until(
    'all workers to train again',
    () => {
      const status = statusOf(runId);
      if (status?.status === 'failed' || status?.status === 'stopped') {
        const sentence = `the run is ${status.status}: ${status.reason}`;
        console.log(`    ${sentence}`);
        if (!mayFail) problems.push(sentence);
        const { code, stderr } = weftIn(home, ['resume', runId, '--detach'], env);
        console.log(`    weft resume: ${code === 0 ? 'it goes on' : stderr.trim()}`);
        return false;
      }
      return status?.worldSize === WORKERS && lastStep(runId) > step + 1;
    },
    MOST_RECOVERY_SECONDS,
  );
}

/** @param {string} runId */
async function verify(runId) {
  weft('stop', runId);
  await until('the end of the run', () => statusOf(runId)?.status === 'stopped');
  const check = weftIn(home, ['data', 'ledger', runId, '--check'], env);
  console.log(check.stdout.trim() || check.stderr.trim());
  if (check.code !== 0) problems.push('the ledger is not whole');
  const rows = metricsOf(home, runId);
  if (rows.some(({ step }, index) => step !== index + 1))
    problems.push('a step is missing in the metrics, or there twice');
  const steps = Math.min(rows.length, COMPARED_STEPS);
  const undisturbed = await launch({ workers: 1, steps });
  await until('the undisturbed run', () => statusOf(undisturbed)?.status === 'finished', 600);
  const others = metricsOf(home, undisturbed);
  const worst = Math.max(...rows.slice(0, steps).map(({ loss }, index) => Math.abs(loss / others[index]?.loss - 1)));
  console.log(`losses of ${steps} steps against those of an undisturbed run: ${worst.toExponential(1)} apart at most`);
  if (!(worst < 1e-4)) problems.push('the losses are not those of an undisturbed run');
  const goodput = join(home, 'runs', runId, 'goodput.json');
  if (!existsSync(goodput)) return;
  const { spent, goodput: part } = JSON.parse(readFileSync(goodput, 'utf8'));
  const buckets = Object.entries(spent).filter(([, seconds]) => seconds > 0.5);
  console.log(`goodput ${part?.toFixed(2)}: ${buckets.map(([name, s]) => `${name} ${s.toFixed(0)} s`).join(', ')}`);
}

/** Also of a run that is interrupted: nothing of the network and of the disk is left behind. */
async function cleanUp() {
  for (const each of [...workers, ...coordinators]) await each.end();
  await redis?.kill();
  namespaces?.remove();
  if (process.env.KEEP !== undefined) {
    console.log(`kept: ${folder}`);
    return;
  }
  if (isOnTmpfs) spawnSync('umount', [home]);
  rmSync(folder, { recursive: true, force: true });
}
for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM']))
  process.once(signal, async () => {
    await cleanUp();
    console.error(`${signal}: nothing is said of the invariants`);
    process.exit(1);
  });

const has = { namespaces: namespaces !== undefined, tmpfs: isOnTmpfs, redis: redis !== undefined };
const wanted = values.scenario?.split(',') ?? Object.keys(FAULTS);
const possible = wanted.filter((name) => {
  const needs = FAULTS[name]?.needs;
  const can = needs === undefined || has[needs];
  if (!can) console.log(`left out: ${name}, which needs ${needs}${needs === 'redis' ? ' (--redis)' : ''}`);
  return can;
});
if (namespaces !== undefined && namespaces.shaping !== 'netem')
  console.log(
    `links are not lossy: this kernel has no netem${namespaces.shaping === 'tbf' ? '; they are slow' : ', nor tbf'}`,
  );

try {
  const host = namespaces === undefined ? [] : ['--host', namespaces.gateway];
  for (let i = 0; i < (redis === undefined ? 1 : 2); i++) {
    const words = ['coordinator', '--port', '0', '--page', 'off', ...host];
    coordinators.push(new Supervised(`coordinator-${i}`, words, { home, logs, env }));
  }
  await until('a coordinator', () => existsSync(join(home, 'coordinator.json')));
  for (let i = 0; i < WORKERS; i++) {
    const words = ['worker', ...(namespaces === undefined ? [] : ['--host', namespaces.address(i)])];
    workers.push(new Supervised(`worker-${i}`, words, { home, logs, env, inside: namespaces?.inside(i) ?? [] }));
  }
  const runId = await launch({ workers: WORKERS, minWorkers: 1, steps: 1_000_000 });
  await until('the first steps', () => lastStep(runId) >= 10, 300);
  const cluster = { home, runId, workers, coordinators, namespaces, redis, isOnTmpfs, random };
  const beganMs = performance.now();
  const endMs = beganMs + Number(values.minutes) * 60_000;
  for (let count = 0; performance.now() < endMs && possible.length > 0; count++) {
    const name = possible[count < possible.length ? count : random(possible.length)] ?? '';
    const fault = FAULTS[name];
    if (fault === undefined) continue;
    const step = lastStep(runId);
    const whom = await fault.run(cluster);
    const detail = whom === '' ? '' : ` (${whom})`;
    const during = lastStep(runId) - step;
    const seconds = await recovered(runId, fault.mayFail === true).catch((error) => {
      problems.push(`after ${name}${detail} at step ${step}: ${error.message}: ${statusOf(runId)?.reason}`);
    });
    console.log(
      `${((performance.now() - beganMs) / 1000).toFixed(0).padStart(5)} s  ${name}${detail} at step ${step}: ${during} steps meanwhile, all train again ${seconds?.toFixed(1) ?? 'not within 180'} s after it`,
    );
    if (seconds === undefined) break;
  }
  await verify(runId);
} catch (error) {
  problems.push(error instanceof Error ? error.message : String(error));
} finally {
  await cleanUp();
}
for (const problem of problems) console.error(`FAILED: ${problem}`);
console.log(problems.length === 0 ? 'all invariants hold' : `${problems.length} problems; the seed was ${values.seed}`);
process.exitCode = problems.length === 0 ? 0 : 1;
