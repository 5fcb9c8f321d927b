import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ENDLESS, Home, lossDifference, stepsUpTo, withSettings } from './weft.js';

let home: Home;
beforeAll(async () => {
  home = await Home.make();
});
afterAll(() => home.remove());

describe('a worker killed with -9 in the middle of a run', () => {
  it('costs the others nothing but the current step: same losses, every sequence once', async () => {
    const settings = { ...ENDLESS, 'optimizer.learningRate': 1e-3 };
    const run = home.start('launch', 'debugTiny', '--local', '3', ...withSettings(settings));
    const id = await run.runId();
    await home.untilStep(id, 8);
    const [victim = 0] = run.children('worker');
    process.kill(victim, 'SIGKILL');
    await home.untilTrainedIn(id, 2, 8);
    await run.interrupt();
    const metrics = home.metrics(id);
    expect(metrics.map(({ step }) => step)).toEqual(stepsUpTo(metrics.length));
    const reference = home.metrics(await home.train('debugTiny', 1, { ...settings, steps: metrics.length }));
    expect(lossDifference(metrics, reference)).toBeLessThan(1e-4);
    const check = await home.weft('data', 'ledger', id, '--check');
    expect(check.code, check.stdout + check.stderr).toBe(0);
  });
});
