// How long commands and a coordinator take with a run of many steps, with its log in files and in Redis, and the bars for it:
// node scripts/long-history.mjs [steps]
// Exits 1 where a bar is missed. The first command reads the whole log and keeps what it came to, unless a coordinator did so
// while the run went on; those that follow read what is new. Needs `npx tsc -b` and redis-server.

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { crc32 } from 'node:zlib';
import { MetricsColumns } from '../packages/client/dist/index.js';
import { openStore } from '../packages/store/dist/index.js';
import { redisServer } from '../packages/testing/dist/index.js';

const steps = Number(process.argv[2] ?? 100_000);
const weft = resolve(import.meta.dirname, '../apps/cli/bin/weft.js');
/** Of each the median counts: a machine that does something else now and then is no news. */
const TIMES = 5;
const ledger = ['data', 'ledger', 'last'];
/** @type {readonly (readonly [words: readonly string[], seconds: number])[]} */
const BARS = [
  [['ls'], 0.3],
  [['status', 'last'], 0.3],
  [ledger, 0.5],
];
const COORDINATOR_BAR = 2;

let missed = 0;
await inFiles();
await inRedis();
process.exitCode = missed === 0 ? 0 : 1;

async function inFiles() {
  const home = mkdtempSync(join(tmpdir(), 'weft-history-'));
  try {
    const { lines, launched } = await launchedRun(home, undefined);
    const directory = join(home, 'runs', launched.runId);
    const log = createWriteStream(join(directory, 'events.jsonl'));
    let sequence = 0;
    await writeHistory(launched, directory, async (record) => {
      const text = JSON.stringify(record);
      const crc = crc32(text).toString(16).padStart(8, '0');
      sequence++;
      const line = `{"sequence":${sequence},"last":${sequence},"crc32":"${crc}","record":${text}}\n`;
      if (!log.write(line)) await once(log, 'drain');
    });
    await once(log.end(), 'finish');
    if (lines === 0) throw new Error('the launched run has no log');
    await measure('files', home, undefined);
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
}

async function inRedis() {
  const home = mkdtempSync(join(tmpdir(), 'weft-history-'));
  const redis = await redisServer({ isLasting: true });
  const redisUrl = redis.url;
  try {
    const { launched, lines } = await launchedRun(home, redisUrl);
    const store = await openStore({ home, redisUrl });
    const lease = await store.lease.acquire('long-history');
    const log = await store.openLog(launched.runId, lease);
    let sequence = lines;
    /** @type {object[]} */
    let batch = [];
    let written = 0;
    const flush = async () => {
      sequence = await log.append(sequence, batch);
      batch = [];
    };
    await writeHistory(launched, join(home, 'runs', launched.runId), async (record) => {
      // The run was launched by a coordinator, so its first record is there.
      if (written++ === 0) return;
      batch.push(record);
      if (batch.length === 500) await flush();
    });
    await flush();
    await log.close();
    await lease.release();
    await store.close();
    await measure('Redis', home, redisUrl);
  } finally {
    await redis.remove();
    rmSync(home, { recursive: true, force: true });
  }
}

/**
 * @param {string} where
 * @param {string} home
 * @param {string | undefined} redisUrl
 */
async function measure(where, home, redisUrl) {
  // As its coordinator does while a run goes on.
  const [runId = ''] = readdirSync(join(home, 'runs'));
  await (await MetricsColumns.open(join(home, 'runs', runId))).save();
  const print = (/** @type {string} */ what, /** @type {number} */ seconds, /** @type {number | undefined} */ bar) => {
    const holds = bar === undefined || seconds < bar;
    if (!holds) missed++;
    const verdict = bar === undefined ? '' : `  bar ${bar} s: ${holds ? 'holds' : 'MISSED'}`;
    console.log(`${where}: ${what}`.padEnd(36), seconds.toFixed(2), 's', verdict);
  };
  print('a process that does nothing', run(home, undefined, '--version'), undefined);
  for (const [words, bar] of BARS) {
    print(`${words.join(' ')}, the first time`, run(home, redisUrl, ...words), undefined);
    const times = Array.from({ length: TIMES }, () => run(home, redisUrl, ...words)).sort((a, b) => a - b);
    print(words.join(' '), times[TIMES >> 1] ?? 0, bar);
  }
  const times = [];
  for (let i = 0; i < 3; i++) {
    const began = performance.now();
    const { stop } = await startCoordinator(home, redisUrl);
    times.push((performance.now() - began) / 1000);
    await stop();
  }
  print('coordinator, until it listens', times.sort((a, b) => a - b)[1] ?? 0, COORDINATOR_BAR);
}

/**
 * @param {string} home
 * @param {string | undefined} redisUrl
 * @param {string[]} words
 * @returns seconds
 */
function run(home, redisUrl, ...words) {
  const began = performance.now();
  const all = words[0] === '--version' ? words : [...words, '--home', home];
  const { status, stderr } = spawnSync(process.execPath, [weft, ...all], {
    encoding: 'utf8',
    env: environment(redisUrl),
  });
  if (status !== 0) throw new Error(`weft ${words.join(' ')} ended with ${status}: ${stderr}`);
  return (performance.now() - began) / 1000;
}

/**
 * A coordinator of the home, once it listens.
 * @param {string} home
 * @param {string | undefined} redisUrl
 */
async function startCoordinator(home, redisUrl) {
  const words = [
    'coordinator',
    '--home',
    home,
    '--port',
    '0',
    '--metrics-port',
    '0',
    '--page',
    'off',
    '--exit-with-stdin',
  ];
  const coordinator = spawn(process.execPath, [weft, ...words], { env: environment(redisUrl) });
  let printed = '';
  coordinator.stdout.resume();
  for await (const text of coordinator.stderr) {
    printed += text;
    if (printed.includes('listens on')) break;
  }
  const stop = async () => {
    coordinator.stdin.end();
    await once(coordinator, 'close');
  };
  return { stop };
}

/** @param {string | undefined} redisUrl default: files of the home */
function environment(redisUrl) {
  const { WEFT_REDIS_URL: _, ...others } = process.env;
  return { ...others, ...(redisUrl === undefined ? {} : { WEFT_REDIS_URL: redisUrl }) };
}

/**
 * A run that was launched and has not begun: a coordinator without workers, which ends at once, is enough.
 * @param {string} home
 * @param {string | undefined} redisUrl
 */
async function launchedRun(home, redisUrl) {
  const coordinator = await startCoordinator(home, redisUrl);
  const words = ['launch', 'debugNano', '--detach', '--home', home];
  let launched = spawnSync(process.execPath, [weft, ...words], { encoding: 'utf8', env: environment(redisUrl) });
  for (let i = 0; launched.status !== 0 && i < 20; i++)
    launched = spawnSync(process.execPath, [weft, ...words], { encoding: 'utf8', env: environment(redisUrl) });
  if (launched.status !== 0) throw new Error(launched.stderr);
  await coordinator.stop();
  const [runId = ''] = readdirSync(join(home, 'runs'));
  const store = await openStore({ home, ...(redisUrl === undefined ? {} : { redisUrl }) });
  const records = [];
  for await (const { record } of store.log(runId).read()) records.push(record);
  await store.close();
  return { launched: /** @type {Record<string, any>} */ (records[0]), lines: records.length };
}

/**
 * @param {Record<string, any>} launched the first record of the run
 * @param {string} directory of the run
 * @param {(record: object) => Promise<void>} append
 */
async function writeHistory(launched, directory, append) {
  const metrics = createWriteStream(join(directory, 'metrics.jsonl'));
  const startMs = Date.parse(launched.time);
  const { globalBatchSize, data } = launched.config;
  const weights = /** @type {Record<string, number>} */ (data.weights);
  const total = Object.values(weights).reduce((sum, weight) => sum + weight, 0);
  await append({ ...launched, config: { ...launched.config, steps } });
  await append({ kind: 'assigned', time: launched.time, generation: 1, firstStep: 1, state: 'fresh', workers: [] });
  for (let step = 1; step <= steps; step++) {
    const time = new Date(startMs + step * 100).toISOString();
    const [firstSequence, endSequence] = [(step - 1) * globalBatchSize, step * globalBatchSize];
    const share = (/** @type {number} */ weight, /** @type {number} */ end) => Math.floor((end * weight) / total);
    const ranges = Object.fromEntries(
      Object.entries(weights).map(([source, weight]) => [
        source,
        { first: share(weight, firstSequence), end: share(weight, endSequence) },
      ]),
    );
    const loss = 5 - Math.log(step) / 5;
    const entry = {
      step,
      generation: 1,
      firstSequence,
      endSequence,
      ranges,
      digest: '0'.repeat(64),
      loss,
      applied: true,
    };
    await append({ kind: 'committed', time, entry, gradNorm: 1, lossTokens: 900, worldSize: 1 });
    const sequences = Object.fromEntries(
      Object.entries(ranges).map(([source, { first, end }]) => [source, end - first]),
    );
    const seconds = { data: 0.01, compute: 0.08, communication: 0.005, apply: 0.005 };
    const row = {
      step,
      loss,
      learningRate: 1e-3,
      gradNorm: 1,
      tokensPerSecond: 2000,
      sequences,
      seconds,
      generation: 1,
      time,
    };
    const isMetricsRoom = metrics.write(`${JSON.stringify(row)}\n`);
    if (!isMetricsRoom) await once(metrics, 'drain');
  }
  await append({ kind: 'finished', time: new Date(startMs + steps * 100 + 1).toISOString(), step: steps });
  await once(metrics.end(), 'finish');
}
