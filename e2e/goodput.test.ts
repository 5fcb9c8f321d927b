import { type RunGoodput, TIME_BUCKETS, totalSeconds } from '@weft/contracts';
import { expect, it } from 'vitest';
import { Cluster } from './cluster.js';
import { ENDLESS, type LogRecord, withSettings } from './weft.js';

/** The worker seconds of a run by its log alone: from the assignment of each worker to its loss or to the end; and its waits. */
function workerSeconds(records: readonly LogRecord[], workers: number): number {
  const since = new Map<string, number>();
  let waitingSince: number | undefined;
  let sum = 0;
  const leave = (workerId: string, atMs: number) => {
    sum += (atMs - (since.get(workerId) ?? atMs)) / 1000;
    since.delete(workerId);
  };
  for (const record of records) {
    const atMs = Date.parse(record.time);
    if (record.kind === 'assigned') {
      if (waitingSince !== undefined) sum += (workers * (atMs - waitingSince)) / 1000;
      waitingSince = undefined;
      for (const { workerId } of record.workers ?? []) if (!since.has(workerId)) since.set(workerId, atMs);
    }
    if (record.kind === 'workerLost' && record.workerId !== undefined) leave(record.workerId, atMs);
    // A coordinator that is killed leaves its workers to the next one, which writes this when it takes over.
    if (['requeued', 'resumed', 'launched'].includes(record.kind)) waitingSince ??= atMs;
    if (['requeued', 'stopped', 'finished'].includes(record.kind))
      for (const workerId of [...since.keys()]) leave(workerId, atMs);
  }
  return sum;
}

it('the time of a run with kills, a stall and a resume is in buckets that sum to the time that passed', async () => {
  await using cluster = await Cluster.make();
  const first = cluster.coordinator('--heartbeat-timeout', '2');
  const [other, stalled, killed] = [await cluster.worker(), await cluster.worker(), await cluster.worker()];
  await cluster.ready(3);
  const runId = await cluster.launch(...withSettings({ ...ENDLESS, workers: 3, 'checkpoint.everySteps': 1_000_000 }));
  await cluster.home.untilStep(runId, 8);
  await killed?.kill();
  await cluster.home.untilTrainedIn(runId, 2, 8);
  // It is silent for longer than a heartbeat may stay out, so it is lost, and joins again when it comes back.
  stalled?.process.kill('SIGSTOP');
  await cluster.home.untilTrainedIn(runId, 3, 8);
  stalled?.process.kill('SIGCONT');
  await cluster.saveCheckpoint(runId);
  // Steps after the checkpoint, which the next coordinator has to train again.
  await cluster.home.untilStep(runId, cluster.home.lastStep(runId) + 2);
  await first.kill();
  // With them goes the state of the last step.
  for (const worker of [other, stalled]) await worker?.kill();
  const generations = cluster.home.records(runId).filter(({ kind }) => kind === 'assigned').length;
  cluster.coordinator('--heartbeat-timeout', '2', '--price-per-worker-hour', '3600');
  for (const _ of [other, stalled]) await cluster.worker();
  await cluster.ready(1);
  await cluster.home.untilTrainedIn(runId, generations + 1, 8);
  await cluster.stop(runId);

  const { stdout } = await cluster.weft('status', runId, '--json');
  const { goodput } = JSON.parse(stdout) as { goodput: RunGoodput };
  const expected = workerSeconds(cluster.home.records(runId), 3);
  const total = totalSeconds(goodput.spent);
  expect(Math.abs(total - expected) / expected, `${total} s in buckets, ${expected} s by the log`).toBeLessThan(0.01);
  const empty = TIME_BUCKETS.filter((bucket) => goodput.spent[bucket] < 0);
  expect(empty).toEqual([]);
  for (const bucket of ['starting', 'computing', 'communicating', 'recovering', 'redoingLostWork'] as const)
    expect(goodput.spent[bucket], bucket).toBeGreaterThan(0);
  expect(goodput.cost).toBeCloseTo(goodput.times.heldSeconds, 6);
  expect(stdout).toContain('"goodput"');
  expect((await cluster.weft('status', runId)).stdout).toMatch(/goodput +\d+ % of the time trained/);
});
