// Joins thousands of workers to a real coordinator: node scripts/many-workers.mjs [workers]
// A coordinator process, and a few processes that each open many connections and speak the worker's protocol on them: hello, welcome,
// heartbeats. Prints how long it takes until all have joined, and how long calls of `weft ls` take meanwhile and afterwards. Exits 1
// above the bars: joined within 60 s, 99 % of the calls within 100 ms. Needs `npx tsc -b` and as many open files as workers.
import { fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { channel } from '@weft/rpc';
import { WEFT_VERSION } from '../packages/common/dist/index.js';
import { Hello, RunsService, WorkersService } from '../packages/proto/dist/index.js';

import { ROOT } from './lib/root.mjs';

const PROCESSES = 4;
/** Connections that a process opens at a time. */
const AT_A_TIME = 16;
const MOST_JOIN_SECONDS = 60;
const MOST_P99_MS = 100;
const CALL_INTERVAL_MS = 20;
const STEADY_MS = 15_000;

if (process.send === undefined) await main(Number(process.argv[2] ?? 5000));
else await joinWorkers(String(process.argv[2]), Number(process.argv[3]), Number(process.argv[4]));

/** @param {number} workers */
async function main(workers) {
  const home = mkdtempSync(join(tmpdir(), 'weft-many-workers-'));
  const weft = join(ROOT, 'apps/cli/bin/weft.js');
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
  const coordinator = spawn(process.execPath, [weft, ...words], { stdio: ['pipe', 'ignore', 'pipe'] });
  /** @type {import('node:child_process').ChildProcess[]} */
  const children = [];
  try {
    let printed = '';
    for await (const text of coordinator.stderr) {
      printed += text;
      if (printed.includes('listens on')) break;
    }
    coordinator.stderr.resume();
    const { address } = JSON.parse(readFileSync(join(home, 'coordinator.json'), 'utf8'));
    const asking = await channel(address);
    const began = performance.now();
    let joined = 0;
    const joining = Array.from({ length: PROCESSES }, async (_, at) => {
      const first = Math.floor((workers * at) / PROCESSES);
      const end = Math.floor((workers * (at + 1)) / PROCESSES);
      const child = fork(fileURLToPath(import.meta.url), [address, `${first}`, `${end}`]);
      children.push(child);
      child.on('message', () => joined++);
      await once(child, 'exit');
    });
    /** @type {number[]} */
    const untilJoined = [];
    while (joined < workers && performance.now() - began < 4 * MOST_JOIN_SECONDS * 1000)
      await call(asking, untilJoined);
    const joinSeconds = (performance.now() - began) / 1000;
    const { workers: known } = await asking.unary(RunsService.cluster, {});
    /** @type {number[]} */
    const steady = [];
    for (const endMs = performance.now() + STEADY_MS; performance.now() < endMs; ) await call(asking, steady);
    const after = await asking.unary(RunsService.cluster, {});
    asking.close();
    const joinP99 = percentile(untilJoined, 0.99);
    const steadyP99 = percentile(steady, 0.99);
    console.log(
      `${joined} of ${workers} workers welcomed after ${joinSeconds.toFixed(1)} s; the coordinator knows ${known.length}`,
    );
    console.log(`${STEADY_MS / 1000} s later it knows ${after.workers.length}`);
    const times = (/** @type {number[]} */ all) =>
      `median ${percentile(all, 0.5).toFixed(1)} ms, p99 ${percentile(all, 0.99).toFixed(1)} ms, longest ${percentile(all, 1).toFixed(1)} ms (${all.length})`;
    console.log(`calls while they join: ${times(untilJoined)}`);
    console.log(`calls afterwards:      ${times(steady)}`);
    const bars = [
      ['all joined and stayed', joined === workers && known.length === workers && after.workers.length === workers],
      [`joined within ${MOST_JOIN_SECONDS} s`, joinSeconds <= MOST_JOIN_SECONDS],
      [`p99 of calls while they join under ${MOST_P99_MS} ms`, joinP99 < MOST_P99_MS],
      [`p99 of calls afterwards under ${MOST_P99_MS} ms`, steadyP99 < MOST_P99_MS],
    ];
    for (const [bar, holds] of bars) console.log(`${holds ? 'holds ' : 'MISSED'} ${bar}`);
    process.exitCode = bars.every(([, holds]) => holds) ? 0 : 1;
    for (const child of children) child.kill();
    await Promise.all(joining);
  } finally {
    for (const child of children) child.kill();
    coordinator.stdin.end();
    if (coordinator.exitCode === null) await once(coordinator, 'close');
    rmSync(home, { recursive: true, force: true });
  }
}

/**
 * @param {import('@weft/rpc').Channel} asking
 * @param {number[]} times
 */
async function call(asking, times) {
  const began = performance.now();
  await asking.unary(RunsService.list, {}, { deadlineMs: 60_000 });
  times.push(performance.now() - began);
  await sleep(CALL_INTERVAL_MS);
}

/**
 * @param {number[]} values
 * @param {number} part
 */
function percentile(values, part) {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? 0;
}

/**
 * Opens connections and keeps them, until this process is killed.
 * @param {string} address
 * @param {number} first
 * @param {number} end
 */
async function joinWorkers(address, first, end) {
  let next = first;
  const joinNext = async () => {
    for (let at = next++; at < end; at = next++) {
      const stream = (await channel(address)).bidi(WorkersService.connect);
      const messages = stream.messages[Symbol.asyncIterator]();
      const hello = Hello.fromPartial({
        workerId: `worker-${at}`,
        hostName: `host-${Math.floor(at / 8)}`,
        processId: 1,
        version: WEFT_VERSION,
        dataPlaneAddress: `10.${at >> 16}.${(at >> 8) & 255}.${at & 255}:7000`,
        device: 'cpu',
      });
      stream.send({ body: { $case: 'hello', hello } });
      const { value } = await messages.next();
      if (value?.body?.$case !== 'welcome') throw new Error(`worker ${at} was not welcomed`);
      const { heartbeatIntervalMs } = value.body.welcome;
      setInterval(
        () => stream.send({ body: { $case: 'heartbeat', heartbeat: { progress: undefined } } }),
        heartbeatIntervalMs,
      );
      process.send?.(at);
    }
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, joinNext));
}
