// How long commands and a coordinator take with a run of many steps: node scripts/long-history.mjs [steps]
// The first command reads the whole log and keeps what it came to; those that follow read what is new.

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { crc32 } from 'node:zlib';
import { MetricsColumns } from '../packages/client/dist/index.js';

const steps = Number(process.argv[2] ?? 100_000);
const weft = resolve(import.meta.dirname, '../apps/cli/bin/weft.js');
const home = mkdtempSync(join(tmpdir(), 'weft-history-'));
const run = (/** @type {string[]} */ ...words) => {
  const began = performance.now();
  const { status, stderr } = spawnSync(process.execPath, [weft, ...words, '--home', home], { encoding: 'utf8' });
  return { seconds: (performance.now() - began) / 1000, status, stderr };
};

try {
  // A real launch writes the configuration; a coordinator without workers, which ends at once, is enough.
  const { record } = JSON.parse(readFileSync(await launchedLog(), 'utf8').split('\n')[0] ?? '');
  await writeHistory(record);
  // As its coordinator does while a run goes on.
  const [runId = ''] = readdirSync(join(home, 'runs'));
  await (await MetricsColumns.open(join(home, 'runs', runId))).save();
  console.log('a process that does nothing'.padEnd(28), run('--version').seconds.toFixed(2), 's');
  const ledger = ['data', 'ledger', 'last'];
  for (const words of [['ls'], ['ls'], ['status', 'last'], ledger, ledger, [...ledger, '--check']])
    console.log(words.join(' ').padEnd(28), run(...words).seconds.toFixed(2), 's');
  const began = performance.now();
  await (await startCoordinator()).stop();
  console.log('coordinator, start and end'.padEnd(28), ((performance.now() - began) / 1000).toFixed(2), 's');
} finally {
  rmSync(home, { recursive: true, force: true });
}

/** A coordinator of the home, once it listens. */
async function startCoordinator() {
  const words = ['coordinator', '--home', home, '--port', '0', '--exit-with-stdin'];
  const coordinator = spawn(process.execPath, [weft, ...words]);
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

async function launchedLog() {
  const coordinator = await startCoordinator();
  let launched = run('launch', 'debugNano', '--detach');
  for (let i = 0; launched.status !== 0 && i < 20; i++) launched = run('launch', 'debugNano', '--detach');
  if (launched.status !== 0) throw new Error(launched.stderr);
  await coordinator.stop();
  const [runId = ''] = readdirSync(join(home, 'runs'));
  return join(home, 'runs', runId, 'events.jsonl');
}

/** @param {Record<string, any>} launched the first record of the run */
async function writeHistory(launched) {
  const directory = join(home, 'runs', launched.runId);
  const log = createWriteStream(join(directory, 'events.jsonl'));
  const metrics = createWriteStream(join(directory, 'metrics.jsonl'));
  let sequence = 0;
  const startMs = Date.parse(launched.time);
  const append = (/** @type {object} */ record) => {
    const text = JSON.stringify(record);
    const crc = crc32(text).toString(16).padStart(8, '0');
    sequence++;
    return log.write(`{"sequence":${sequence},"last":${sequence},"crc32":"${crc}","record":${text}}\n`);
  };
  const { globalBatchSize, data } = launched.config;
  const weights = /** @type {Record<string, number>} */ (data.weights);
  const total = Object.values(weights).reduce((sum, weight) => sum + weight, 0);
  append({ ...launched, config: { ...launched.config, steps } });
  append({ kind: 'assigned', time: launched.time, generation: 1, firstStep: 1, state: 'fresh', workers: [] });
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
    const isRoom = append({ kind: 'committed', time, entry, gradNorm: 1, lossTokens: 900, worldSize: 1 });
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
    if (!isRoom) await once(log, 'drain');
    if (!isMetricsRoom) await once(metrics, 'drain');
  }
  append({ kind: 'finished', time: new Date(startMs + steps * 100 + 1).toISOString(), step: steps });
  await Promise.all([once(log.end(), 'finish'), once(metrics.end(), 'finish')]);
}
