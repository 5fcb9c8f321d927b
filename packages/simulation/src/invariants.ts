import assert from 'node:assert/strict';
import { hasEnded } from '@weft/contracts';
import {
  blocksQueue,
  type ClusterState,
  ledgerRecords,
  type QueueState,
  type RunState,
  replay,
  waitingRuns,
} from '@weft/coordination';
import { Ledger } from '@weft/mixture';
import { hasFiniteGradients, SimulatedModel } from './simulated-model.js';
import type { SimulatedRun } from './simulated-worker.js';

/**
 * What must hold after every decision: the coordinator's queue is the store's, a run has workers exactly while its job is
 * active, no worker is in two runs, and no run waits for workers that are idle and not kept for a run before it.
 *
 * @throws AssertionError naming what does not hold.
 */
export function checkQueue(cluster: ClusterState, stored: QueueState, nowMs: number): void {
  const { queue, runs, workers } = cluster;
  const activeRuns = (jobs: QueueState['jobs']) =>
    jobs.flatMap(({ state, runId }) => (state === 'active' ? runId : []));
  assert.deepEqual(activeRuns(queue.jobs), activeRuns(stored.jobs));
  for (const [runId, { state, live }] of runs) {
    const job = queue.jobs.find((other) => other.runId === runId);
    const hasWorkers = live.state === 'training' || live.state === 'reforming';
    assert.equal(job?.state === 'active', hasWorkers, `${runId} is ${live.state}, its job ${job?.state}`);
    if (live.state === 'training')
      for (const workerId of live.members) {
        const memberOf = workers.get(workerId)?.runId;
        assert.ok(memberOf === undefined || memberOf === runId, `${workerId} of ${runId} is a member of ${memberOf}`);
      }
    if (state.status === 'queued') assert.notEqual(job, undefined, `${runId} is queued without a job`);
  }
  const idle = workers.count('idle/rank');
  // A change that a person made, and a time that has come, reach the coordinator with the next listing.
  const isListed = JSON.stringify(queue.jobs.map(({ id }) => id)) === JSON.stringify(stored.jobs.map(({ id }) => id));
  for (const waiting of isListed ? waitingRuns(cluster, nowMs) : []) {
    if (waiting.isDue && waiting.startState !== undefined)
      assert.ok(waiting.required.workers > idle, `${waiting.state.runId} could start on ${idle} idle workers`);
    if (blocksQueue(waiting, { workers: workers.size, expertWorkers: 0 })) break;
  }
}

/** How the last job of a run may end, by the status of the run. */
const JOB_ENDS: Readonly<Record<string, readonly string[]>> = {
  finished: ['completed', 'cancelled'],
  stopped: ['cancelled'],
  failed: ['failed', 'cancelled'],
};

/**
 * What must hold of a run at any time: the ledger is complete, the log alone gives the state, every step has the loss that
 * an undisturbed run has, the metrics have one row per step, and the job ended as the run did.
 *
 * @param jobEnd how the run's job ended; undefined while it has not.
 * @throws AssertionError naming what does not hold.
 */
export function checkRun({ log, rows }: SimulatedRun, state: RunState, jobEnd: string | undefined): void {
  const ledger = Ledger.fold(ledgerRecords(log));
  assert.deepEqual(ledger.problems(), []);
  assert.deepEqual(replay(structuredClone(log)), state);
  let model = SimulatedModel.seed;
  for (const { step, loss, applied } of ledger.entries) {
    const apply = hasFiniteGradients(step);
    assert.deepEqual({ step, loss, applied }, { step, loss: model.loss, applied: apply });
    model = model.next(apply);
  }
  assert.deepEqual(
    rows.map(({ step }) => step),
    rows.map((_, index) => index + 1),
  );
  if (hasEnded(state))
    assert.ok(JOB_ENDS[state.status]?.includes(jobEnd ?? ''), `the job of a ${state.status} run is ${jobEnd}`);
  else assert.equal(jobEnd, undefined);
}
