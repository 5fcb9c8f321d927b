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

describe('a process that is stopped and goes on later', () => {
  it('is named with what it did last, left out while it hangs, and joins again with the state of the others', async () => {
    cluster.coordinator();
    await cluster.worker();
    const stopped = await cluster.worker();
    await cluster.worker();
    await cluster.ready(3);
    const runId = await cluster.launch(...settings);
    const log = () => cluster.home.records(runId);
    await cluster.home.untilStep(runId, 3);
    stopped.process.kill('SIGSTOP');
    const members = () => log().findLast(({ kind }) => kind === 'assigned');
    await until(
      () => 'a generation without the process that is stopped',
      () => members()?.workers?.length === 2,
    );
    const named = log().find(({ kind, workerId }) => kind === 'hung' && workerIdOf(stopped.log) === workerId);
    expect(named?.reason).toMatch(
      /^has sent nothing for \d+\.\d s; it was .+, and the last it did was .+ of step \d+, /,
    );
    await cluster.home.untilStep(runId, cluster.home.metrics(runId).at(-1)!.step + 2);

    stopped.process.kill('SIGCONT');
    await until(
      () => 'a generation with all three again',
      () => members()?.workers?.length === 3 && members()?.newcomers?.length === 1,
    );
    await cluster.home.untilStep(runId, cluster.home.metrics(runId).at(-1)!.step + 2);
    expect((await cluster.weft('stop', runId)).code).toBe(0);
    await cluster.untilStatus(runId, 'stopped');
    const check = await cluster.weft('data', 'ledger', runId, '--check');
    expect(check.code, check.stdout + check.stderr).toBe(0);

    const undisturbed = await cluster.launch(...settings, '--set', 'workers=2');
    const { step } = cluster.home.metrics(runId).at(-1)!;
    await cluster.home.untilStep(undisturbed, step);
    expect((await cluster.weft('stop', undisturbed, '--no-checkpoint')).code).toBe(0);
    const upTo = (id: string) => cluster.home.metrics(id).slice(0, step);
    expect(lossDifference(upTo(runId), upTo(undisturbed))).toBeLessThan(1e-4);
  });
});

const workerIdOf = (log: string) => /worker (\S+) is connected/.exec(log)?.[1];
