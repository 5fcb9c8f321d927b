import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Cluster } from './cluster.js';
import { ENDLESS, until, withSettings } from './weft.js';

let cluster: Cluster;
beforeEach(async () => {
  cluster = await Cluster.make();
});
afterEach(() => cluster.remove());

const settings = (workers: number) => withSettings({ ...ENDLESS, workers, 'checkpoint.everySteps': 10 });

/** Resumes the run to a step of its own, which it reaches. */
async function resumeTo(step: number, runId: string, ...words: string[]): Promise<void> {
  const resumed = await cluster.weft('resume', runId, '--steps', String(step), ...words, '--detach');
  expect(resumed.code, resumed.stderr).toBe(0);
  await cluster.untilStatus(runId, 'finished');
  expect(cluster.home.lastStep(runId)).toBe(step);
  await cluster.expectWhole(runId);
}

describe('a run whose coordinator and workers were killed with -9', () => {
  it('does not begin again while its checkpoints are away, and goes on when they are back', async () => {
    const first = cluster.coordinator();
    const worker = await cluster.worker();
    await cluster.ready(1);
    const runId = await cluster.launch(...settings(1));
    await cluster.home.untilCheckpoint(runId, 20);
    await first.kill();
    await worker.kill();
    const written = cluster.home.records(runId).filter(({ kind }) => kind === 'checkpointWritten');
    const names = written.slice(-3).map(({ step }) => `step-${String(step).padStart(8, '0')}`);
    const folder = join(cluster.home.runDirectory(runId), 'checkpoints');
    await rename(folder, `${folder}-away`);
    cluster.coordinator();
    await cluster.worker();
    await cluster.ready(1);
    await cluster.untilStatus(runId, 'failed');
    const { reason } = await cluster.run(runId);
    expect(reason).toContain(`names the checkpoints ${names.join(', ')} in ${folder}`);
    const refused = await cluster.weft('resume', runId, '--detach');
    expect(refused.code).not.toBe(0);
    expect(refused.stderr).toContain('none of them can be used');
    expect(refused.stderr).toContain(`weft resume ${runId} --from-start`);
    await rename(`${folder}-away`, folder);
    const last = cluster.home.lastStep(runId) + 20;
    await resumeTo(last, runId);
    await resumeTo(last, runId, '--from-step', String(last - (last % 10) - 10));
  });

  it('goes on with the workers it had when one of them is gone for good', async () => {
    const first = cluster.coordinator();
    const others = [await cluster.worker(), await cluster.worker()];
    const lost = await cluster.worker();
    await cluster.ready(3);
    const runId = await cluster.launch(...settings(3));
    await cluster.home.untilStep(runId, 12);
    await lost.kill();
    await cluster.home.untilTrainedIn(runId, 2, 10);
    await first.kill();
    for (const worker of others) await worker.kill();
    cluster.coordinator();
    for (const _ of others) await cluster.worker();
    await cluster.ready(2);
    await until(
      () => 'the reason why it waits',
      async () => (await cluster.run(runId)).reason.includes('without them it starts in a moment, on 2 workers'),
    );
    await cluster.home.untilTrainedIn(runId, 3, 10);
    await cluster.stop(runId);
    await cluster.expectWhole(runId);
  });
});
