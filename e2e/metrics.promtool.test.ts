import { execFileSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Home, withSettings } from './weft.js';

let home: Home;
beforeAll(async () => {
  home = await Home.make();
});
afterAll(() => home.remove());

/** promtool reads a page of metrics on stdin and complains with a non-zero exit. */
function checkWithPromtool(page: string): void {
  execFileSync('promtool', ['check', 'metrics'], { input: page });
}

describe('the metrics pages of a run', () => {
  it('are what Prometheus expects, on the coordinator and on a worker', async () => {
    const run = home.start('launch', 'debugTiny', '--local', '1', ...withSettings({ steps: 60 }));
    const id = await run.runId();
    await home.untilStep(id, 5);
    const coordinator = await (await fetch(`http://${(await home.coordinator()).metricsAddress}/metrics`)).text();
    const worker = await (await fetch(`http://${home.workerMetricsAddress()}/metrics`)).text();
    await run.killAll();
    checkWithPromtool(coordinator);
    checkWithPromtool(worker);
    expect(coordinator).toMatch(/^weft_coordinator_steps_committed_total [1-9]/m);
    expect(worker).toMatch(/^weft_worker_steps_applied_total [1-9]/m);
  });
});
