import { readdirSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Home, lossDifference, withSettings } from './weft.js';

let home: Home;
beforeAll(async () => {
  home = await Home.make();
});
afterAll(() => home.remove());

/** The worker processes of a group, by their command lines. */
function workersOf(group: number): number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => {
      try {
        const isOfGroup = Number(readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ')[2]) === group;
        return isOfGroup && readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')[2] === 'worker';
      } catch {
        return false;
      }
    });
}

describe('a worker killed with -9 in the middle of a run', () => {
  it('costs the others nothing but the step in hand: same losses, every sequence once', async () => {
    const steps = 40;
    const reference = home.metrics(await home.train('debugTiny', 3, { steps }));
    const run = home.start('launch', 'debugTiny', '--local', '3', ...withSettings({ steps }));
    const id = await run.runId();
    await home.untilStep(id, 15);
    const [victim] = workersOf(run.process.pid as number);
    process.kill(victim as number, 'SIGKILL');
    const said = await run.ended;
    expect(said.code, said.stderr).toBe(0);
    expect(lossDifference(home.metrics(id), reference)).toBeLessThan(1e-4);
    const check = await home.weft('data', 'ledger', id, '--check');
    expect(check.code, check.stdout + check.stderr).toBe(0);
  });
});
