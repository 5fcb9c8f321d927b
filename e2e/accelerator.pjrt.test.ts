import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { installPlugin } from '@weft/backend-pjrt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Home, lossDifference, withSettings } from './weft.js';

const STEPS = 6;
const steps = { steps: STEPS, 'optimizer.warmupSteps': 0 };
const pjrt = { ...steps, 'engine.backend': 'pjrt' };
const tensorflow = { ...steps, 'engine.backend': 'tensorflow' };

let home: Home;
beforeAll(async () => {
  // The processes of the runs find it here; without an accelerator they would look for none.
  process.env.WEFT_PJRT_PLUGIN = (await installPlugin({ platform: 'cpu' })).path;
  home = await Home.make();
});
afterAll(() => home.remove());

describe('a run on the PJRT backend', () => {
  it("trains to TensorFlow's losses on two workers, and goes on from its checkpoint", async () => {
    const id = await home.train('debugTiny', 2, pjrt);
    const expected = await home.train('debugTiny', 2, tensorflow);
    expect(lossDifference(home.metrics(id), home.metrics(expected))).toBeLessThan(1e-4);
    const [first = ''] = readdirSync(join(home.path, 'logs')).sort();
    const log = readFileSync(join(home.path, 'logs', first, 'worker-0.log'), 'utf8');
    expect(log).toMatch(/(compiled|loaded) phase apply, \d+ s/);

    const resumed = await home.weft('resume', id, '--steps', `${STEPS + 2}`);
    expect(resumed.code, resumed.stdout + resumed.stderr).toBe(0);
    expect(home.metrics(id).map(({ step }) => step)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    const check = await home.weft('data', 'ledger', id, '--check');
    expect(check.code, check.stdout + check.stderr).toBe(0);
  });

  it('waits for experts in other processes in the middle of a layer', async () => {
    const moe = {
      'model.decoder.moe.experts': 4,
      'model.decoder.moe.everyLayers': 2,
      'model.decoder.moe.groupSize': 64,
      'optimizer.learningRate': 3e-4,
    };
    const expected = await home.train('debugNano', 1, { ...tensorflow, ...moe });
    const settings = withSettings({ ...pjrt, ...moe });
    const run = home.start('launch', 'debugNano', '--local', '1', '--expert-workers', '1', ...settings);
    const { code, stderr } = await run.ended;
    expect(code, stderr).toBe(0);
    expect(lossDifference(home.metrics(await run.runId()), home.metrics(expected))).toBeLessThan(1e-4);
  });
});
