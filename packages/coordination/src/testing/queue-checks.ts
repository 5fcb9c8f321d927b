import { expect } from 'vitest';
import type { ClusterState, QueueState } from '../index.js';
import { holdsBack, waitingRuns } from '../turn-order.js';

/**
 * What must hold after every decision: the queue was foreseen as the store has it, every run at work has its workers to
 * itself, and nobody waits for workers that are idle and not kept for one before it.
 */
export function checkQueue(cluster: ClusterState, stored: QueueState, nowMs: number): void {
  const { queue, runs, workers } = cluster;
  // A person's change and time reach the coordinator with the next listing.
  const isSame = JSON.stringify(queue.jobs.map(({ id }) => id)) === JSON.stringify(stored.jobs.map(({ id }) => id));
  const active = (jobs: QueueState['jobs']) => jobs.flatMap(({ state, runId }) => (state === 'active' ? runId : []));
  expect(active(queue.jobs)).toEqual(active(stored.jobs));
  for (const [runId, { durable, live }] of runs) {
    const job = queue.jobs.find((other) => other.runId === runId);
    const isAtWork = live.stage === 'training' || live.stage === 'reforming';
    expect(job?.state === 'active', `${runId} is ${live.stage}, its job ${job?.state}`).toBe(isAtWork);
    if (live.stage === 'training')
      for (const workerId of live.members) expect([undefined, runId]).toContain(workers.get(workerId)?.runId);
    if (durable.status === 'queued') expect(job).toBeDefined();
  }
  const idle = [...workers.values()].filter(({ runId }) => runId === undefined).length;
  for (const waiting of isSame ? waitingRuns(cluster, nowMs) : []) {
    if (waiting.isDue && waiting.origin !== undefined) expect(waiting.state.config.workers).toBeGreaterThan(idle);
    if (holdsBack(waiting, { workers: workers.size, expertWorkers: 0 })) break;
  }
}
