import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Home, lossDifference, withSettings } from './weft.js';

let home: Home;
beforeAll(async () => {
  home = await Home.make();
});
afterAll(() => home.remove());

describe('a worker killed with -9 in the middle of a run', () => {
  it('costs the others nothing but the current step: same losses, every sequence once', async () => {
    const steps = 24;
    const reference = home.metrics(await home.train('debugTiny', 3, { steps }));
    const run = home.start('launch', 'debugTiny', '--local', '3', ...withSettings({ steps }));
    const id = await run.runId();
    await home.untilStep(id, 8);
    const [victim = 0] = run.children('worker');
    process.kill(victim, 'SIGKILL');
    const said = await run.ended;
    expect(said.code, said.stderr).toBe(0);
    expect(lossDifference(home.metrics(id), reference)).toBeLessThan(1e-4);
    const check = await home.weft('data', 'ledger', id, '--check');
    expect(check.code, check.stdout + check.stderr).toBe(0);
  });
});
