// Data on an S3 server that others wrote, behind a connection that gets worse: node scripts/remote-data.mjs [steps]
// Every run reads its shards into an empty cache. All must have the losses of the run on a folder, bit for bit. Needs Python with
// moto[server] (named by WEFT_DATA_PYTHON, or python3) and `npx tsc -b`.
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TarWriter } from '../packages/data/dist/index.js';
import { motoServer, pngPicture, troubledProxy } from '../packages/testing/dist/index.js';
import { ROOT } from './lib/root.mjs';

/** @typedef {import('../packages/testing/dist/index.js').Trouble} Trouble */

const WEFT = join(ROOT, 'apps/cli/bin/weft.js');
const steps = Number(process.argv[2] ?? 12);
const SHARDS = 8;
const PICTURES = 60;
const SIDE = 256;
const home = mkdtempSync(join(tmpdir(), 'weft-remote-'));
const env = {
  ...process.env,
  ...{ AWS_ACCESS_KEY_ID: 'AKIDTEST', AWS_SECRET_ACCESS_KEY: 'not-a-secret', AWS_REGION: 'us-east-1' },
};

/** Pictures of noise, which no format makes smaller. */
async function writeShards() {
  mkdirSync(join(home, 'data/captioned'), { recursive: true });
  let state = 1;
  const noise = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 24;
  };
  for (let shard = 0; shard < SHARDS; shard++) {
    const writer = await TarWriter.create(join(home, `data/captioned/${String(shard).padStart(5, '0')}.tar`));
    for (let i = 0; i < PICTURES; i++) {
      const key = String(shard * PICTURES + i).padStart(6, '0');
      await writer.add(
        `${key}.png`,
        pngPicture(SIDE, SIDE, () => [noise(), noise(), noise()]),
      );
      await writer.add(`${key}.txt`, Buffer.from(`picture number ${key} of many`));
    }
    await writer.finish();
  }
}

/**
 * @param {string[]} words
 * @returns {Promise<{ seconds: number; stdout: string }>}
 */
function weft(...words) {
  const beganMs = performance.now();
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [WEFT, ...words, '--home', home], { cwd: ROOT, env });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (chunk) => {
      stdout += chunk;
    });
    child.stderr.on('data', (chunk) => {
      stderr += chunk;
    });
    child.once('close', (code) => {
      const seconds = (performance.now() - beganMs) / 1000;
      if (code === 0) resolve({ seconds, stdout });
      else reject(new Error(`weft ${words.join(' ')}: ${stderr}${stdout}`));
    });
  });
}

let caches = 0;
/**
 * @param {string} directory
 * @param {string} endpoint
 * @param {readonly string[]} more
 */
function settings(directory, endpoint, more = []) {
  const remote = [`data.remote.endpoint=${endpoint}`, `data.remote.cacheDirectory=${join(home, `cache-${caches++}`)}`];
  return [
    ...['--set', `data.directory=${directory}`, `data.index=${join(home, 'index')}`, 'data.weights=1:0:0'],
    ...[`steps=${steps}`, 'engine.threadsPerWorker=1', 'optimizer.warmupSteps=2', ...remote, ...more],
  ];
}

/**
 * @param {string} directory
 * @param {string} endpoint
 * @param {readonly string[]} more
 */
async function train(directory, endpoint, more = []) {
  const { seconds, stdout } = await weft(
    ...['launch', 'debugNano', '--local', '2', '--json'],
    ...settings(directory, endpoint, more),
  );
  const id = /"runId":"([^"]+)"/.exec(stdout)?.[1] ?? '';
  const rows = readFileSync(join(home, 'runs', id, 'metrics.jsonl'), 'utf8')
    .trim()
    .split('\n');
  return { seconds, losses: rows.map((row) => /** @type {number} */ (JSON.parse(row).loss)) };
}

/** @type {readonly Trouble[]} */
const KINDS = ['error', 'slowDown', 'reset', 'cut'];
/** @type {readonly (readonly [string, (n: number) => Trouble, readonly string[]])[]} */
const WAYS = [
  ['S3', () => 'fine', []],
  ['S3, of ten requests one fails', (n) => (n % 10 === 9 ? (KINDS[Math.floor(n / 10) % 4] ?? 'error') : 'fine'), []],
  ['S3, of two one is throttled', (n) => (n % 2 === 1 ? 'slowDown' : 'fine'), []],
  ['S3, every connection slow', () => 'slow', []],
  ['S3, a cache smaller than the data', () => 'fine', ['data.remote.cacheBytes=67108864']],
];

await writeShards();
const moto = await motoServer();
try {
  await moto.put('shards');
  for (const name of readdirSync(join(home, 'data/captioned')))
    await moto.put(`shards/data/captioned/${name}`, readFileSync(join(home, 'data/captioned', name)));
  const here = await weft('data', 'index', 'debugNano', ...settings(join(home, 'data'), moto.url));
  const there = await weft('data', 'index', 'debugNano', '--force', ...settings('s3://shards/data', moto.url));
  console.log(`index: ${here.seconds.toFixed(1)} s of the folder, ${there.seconds.toFixed(1)} s of S3`);
  const folder = await train(join(home, 'data'), moto.url);
  console.log(`folder: ${folder.losses.length} steps, ${folder.seconds.toFixed(1)} s`);
  for (const [title, trouble, more] of WAYS) {
    const proxy = await troubledProxy({ port: moto.port, trouble });
    const run = await train('s3://shards/data', proxy.url, more);
    const isSame = JSON.stringify(run.losses) === JSON.stringify(folder.losses);
    const met = Object.entries(proxy.counts).flatMap(([what, count]) => (count === 0 ? [] : [`${count} ${what}`]));
    console.log(
      `${title}: ${isSame ? 'the same losses' : 'OTHER LOSSES'}, ${run.seconds.toFixed(1)} s, ` +
        `${(proxy.passedBytes / 2 ** 20).toFixed(0)} MiB; requests: ${met.join(', ')}`,
    );
    if (!isSame) process.exitCode = 1;
    await proxy[Symbol.asyncDispose]();
  }
} finally {
  await moto[Symbol.asyncDispose]();
  rmSync(home, { recursive: true, force: true });
}
