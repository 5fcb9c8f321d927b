// What the coordinator's decisions cost, by the number of connected workers: node scripts/decision-cost.mjs
// One run has all workers. Printed is the processor time of one heartbeat with all that ticks make of it (a heartbeat of each
// worker every 2 s, five ticks a second), of one vote, of the commit with its messages, and of a worker that connects or is lost.
// Exits 1 when a heartbeat takes longer than 0.05 ms with 10,000 workers. Needs `npx tsc -b`.

import { resolveRunConfig } from '../packages/config/dist/index.js';
import { decide, defaultTimeouts, initialCluster } from '../packages/coordination/dist/index.js';
import { EMPTY_DIGEST } from '../packages/mixture/dist/index.js';
import { recipeInput } from '../packages/recipes/dist/index.js';

/** @typedef {import('../packages/coordination/dist/index.js').ClusterEvent} ClusterEvent */

const SIZES = [10, 100, 1000, 10_000];
const MOST_HEARTBEAT_MS = 0.05;
const HEARTBEAT_INTERVAL_MS = 2000;
const TICK_MS = 200;
const RUN = 'large';

const rows = SIZES.map(measure);
const column = (/** @type {number} */ ms) => `${(ms * 1000).toFixed(1)} µs`.padStart(14);
console.log('workers     heartbeat          vote        commit       connect          lose');
for (const { workers, heartbeat, vote, commit, connect, lose } of rows)
  console.log(`${workers}`.padEnd(7) + [heartbeat, vote, commit, connect, lose].map(column).join(''));
const slowest = rows.at(-1)?.heartbeat ?? 0;
const holds = slowest <= MOST_HEARTBEAT_MS;
console.log(
  `\na heartbeat with 10,000 workers: ${slowest.toFixed(4)} ms, bar ${MOST_HEARTBEAT_MS} ms: ${holds ? 'holds' : 'MISSED'}`,
);
process.exitCode = holds ? 0 : 1;

/** @param {number} workers */
function measure(workers) {
  let nowMs = Date.UTC(2026, 0, 1);
  let state = initialCluster(defaultTimeouts);
  /** @type {Map<string, number>} */
  const heard = new Map();
  const lookups = { lastMessageMs: (/** @type {string} */ workerId) => heard.get(workerId) };
  const handle = (/** @type {ClusterEvent} */ event) => {
    const decision = decide(nowMs, state, event, lookups);
    state = decision.state;
    return decision;
  };
  const connectOne = (/** @type {string} */ workerId) =>
    handle({
      kind: 'workerConnected',
      worker: {
        workerId,
        hostName: `host${workerId.slice(0, -1)}`,
        processId: 1,
        dataPlaneAddress: `${workerId}:1`,
        device: 'cpu',
        role: 'rank',
        bf16Backends: [],
      },
    });
  const ids = Array.from({ length: workers }, (_, at) => `w${at}`);
  const connect = timed(workers, () => ids.forEach(connectOne));
  const recipe = recipeInput('debugNano');
  const config = resolveRunConfig({
    ...recipe,
    workers,
    steps: 1000,
    globalBatchSize: Math.max(9, workers),
    microbatchSize: 1,
    optimizer: { ...recipe.optimizer, warmupSteps: 0 },
  });
  handle({ kind: 'launch', runId: RUN, config, weftVersion: '0' });
  const steps = Math.max(3, Math.ceil(20_000 / workers));
  let commits = 0;
  let commitMs = 0;
  const votes = timed(steps * workers, () => {
    for (let step = 1; step <= steps; step++)
      for (const [at, workerId] of ids.entries()) {
        const vote = { step, loss: 2, gradNorm: 1, finite: true, sequenceDigest: EMPTY_DIGEST, lossTokens: 100 };
        const began = performance.now();
        handle({ kind: 'voted', workerId, runId: RUN, generation: 1, vote });
        if (at < workers - 1) continue;
        commitMs += performance.now() - began;
        commits++;
      }
  });
  const virtualMs = 120_000;
  const beats = (virtualMs / HEARTBEAT_INTERVAL_MS) * workers;
  const heartbeat = timed(beats, () => {
    for (let passedMs = 0; passedMs < virtualMs; passedMs += TICK_MS) {
      nowMs += TICK_MS;
      for (let at = (passedMs / TICK_MS) % 10; at < workers; at += 10) heard.set(ids[at] ?? '', nowMs);
      handle({ kind: 'tick' });
    }
  });
  const lost = ids.slice(0, Math.min(100, workers - 1));
  const lose = timed(lost.length, () => {
    for (const workerId of lost) handle({ kind: 'workerDisconnected', workerId, reason: 'its stream ended' });
  });
  const vote = (votes * steps * workers - commitMs) / (steps * workers);
  return { workers, heartbeat, vote, commit: commitMs / commits, connect, lose };
}

/**
 * @param {number} count
 * @param {() => void} work
 * @returns milliseconds for each
 */
function timed(count, work) {
  const began = performance.now();
  work();
  return (performance.now() - began) / count;
}
