import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Cluster } from './cluster.js';
import { lossDifference, until, withSettings } from './weft.js';

let cluster: Cluster;
beforeEach(async () => {
  cluster = await Cluster.make();
});
afterEach(() => cluster.remove());

/** So many that no run ends before it is stopped. */
const settings = withSettings({
  workers: 3,
  steps: 100_000,
  'checkpoint.everySteps': 50_000,
  'engine.backend': 'javascript',
});

const assigned = (runId: string) => cluster.home.records(runId).filter(({ kind }) => kind === 'assigned');
const lastStep = (runId: string) => cluster.home.lastStep(runId);

async function untilMembers(runId: string, workers: number, newcomers: number): Promise<void> {
  await until(
    () => `a generation of ${workers} with ${newcomers} newcomers`,
    () => {
      const last = assigned(runId).at(-1);
      return last?.workers?.length === workers && (last.newcomers?.length ?? 0) === newcomers;
    },
  );
  await cluster.home.untilStep(runId, lastStep(runId) + 1);
}

describe('a run under way', () => {
  it('gives its state to a replacement, lets a worker go, and outlives its coordinator, without a step twice', async () => {
    const first = cluster.coordinator();
    const workers = [await cluster.worker(), await cluster.worker(), await cluster.worker()];
    await cluster.ready(3);
    const runId = await cluster.launch(...settings);
    await cluster.home.untilStep(runId, 3);

    await workers[0]!.kill();
    await untilMembers(runId, 2, 0);
    await cluster.worker();
    await untilMembers(runId, 3, 1);

    // One more is a spare: it takes the place of the next one that goes, at once.
    await cluster.worker();
    await cluster.untilReason(runId, 'a spare is ready');
    const generations = assigned(runId).length;
    workers[1]!.process.kill('SIGTERM');
    await workers[1]!.ended;
    await until(
      () => 'the spare to join',
      () => assigned(runId).length > generations,
    );
    await untilMembers(runId, 3, 1);
    expect(assigned(runId)).toHaveLength(generations + 1);
    expect(cluster.home.lostWorkers(runId)).toHaveLength(1);

    await first.kill();
    const before = cluster.home.records(runId).length;
    cluster.coordinator();
    await until(
      () => 'the run to go on',
      () => cluster.home.records(runId).length > before + 3,
    );
    const step = lastStep(runId) + 1;
    await cluster.home.untilStep(runId, step);
    expect((await cluster.weft('stop', runId)).code).toBe(0);
    await cluster.untilStatus(runId, 'stopped');

    const kinds = cluster.home.records(runId).map(({ kind }) => kind);
    expect(kinds).toContain('continued');
    expect(kinds).not.toContain('resumed');
    const check = await cluster.weft('data', 'ledger', runId, '--check');
    expect(check.code, check.stdout + check.stderr).toBe(0);

    const undisturbed = await cluster.launch(...settings, '--set', 'workers=2');
    await cluster.home.untilStep(undisturbed, step);
    expect((await cluster.weft('stop', undisturbed, '--no-checkpoint')).code).toBe(0);
    const upTo = (id: string) => cluster.home.metrics(id).slice(0, step);
    expect(lossDifference(upTo(runId), upTo(undisturbed))).toBeLessThan(1e-4);
  });
});
