import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Cluster, until } from './cluster.js';
import { withSettings } from './weft.js';

let cluster: Cluster;
beforeEach(async () => {
  cluster = await Cluster.make();
});
afterEach(() => cluster.remove());

const STEPS = 60;
const settings = (workers: number) => withSettings({ workers, steps: STEPS, 'checkpoint.everySteps': 10 });

async function expectWhole(runId: string): Promise<void> {
  expect(cluster.home.metrics(runId).map(({ step }) => step)).toEqual(Array.from({ length: STEPS }, (_, i) => i + 1));
  const check = await cluster.weft('data', 'ledger', runId, '--check');
  expect(check.code, check.stdout + check.stderr).toBe(0);
}

describe('a run whose coordinator was killed with -9', () => {
  it('does not begin again while its checkpoints are away, and goes on when they are back', async () => {
    const first = cluster.coordinator();
    await cluster.worker();
    await cluster.ready(1);
    const runId = await cluster.launch(...settings(1));
    await cluster.home.untilCheckpoint(runId, 20);
    await first.kill();
    const folder = join(cluster.home.runDirectory(runId), 'checkpoints');
    await rename(folder, `${folder}-away`);
    cluster.coordinator();
    await cluster.ready(1);
    await cluster.untilStatus(runId, 'failed');
    const { reason } = await cluster.run(runId);
    expect(reason).toContain(`names the checkpoints step-00000010, step-00000020 in ${folder}`);
    const refused = await cluster.weft('resume', runId, '--detach');
    expect(refused.code).not.toBe(0);
    expect(refused.stderr).toContain('none of them can be used');
    expect(refused.stderr).toContain(`weft resume ${runId} --from-start`);
    await rename(`${folder}-away`, folder);
    const resumed = await cluster.weft('resume', runId, '--detach');
    expect(resumed.code, resumed.stderr).toBe(0);
    await cluster.untilStatus(runId, 'finished');
    await expectWhole(runId);
    const older = await cluster.weft('resume', runId, '--from-step', '50', '--detach');
    expect(older.code, older.stderr).toBe(0);
    await cluster.untilStatus(runId, 'finished');
    await expectWhole(runId);
  });

  it('goes on with the workers it had when one of them is gone for good', async () => {
    const first = cluster.coordinator();
    await cluster.worker();
    await cluster.worker();
    const lost = await cluster.worker();
    await cluster.ready(3);
    const runId = await cluster.launch(...settings(3));
    await cluster.home.untilStep(runId, 12);
    await lost.kill();
    await cluster.home.untilStep(runId, 22);
    await first.kill();
    cluster.coordinator();
    await cluster.ready(2);
    await until(
      () => 'the reason why it waits',
      async () => (await cluster.run(runId)).reason.includes('without them it starts in a moment, on 2 workers'),
    );
    await cluster.untilStatus(runId, 'finished');
    await expectWhole(runId);
  });
});
