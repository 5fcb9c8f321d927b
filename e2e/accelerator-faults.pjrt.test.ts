import { installPlugin } from '@weft/backend-pjrt';
import { faultyPlugin, type PluginFault } from '@weft/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Home, withSettings } from './weft.js';

const STEPS = 8;
/** Small enough to compile in seconds. */
const small = { steps: STEPS, 'optimizer.warmupSteps': 0, 'engine.backend': 'pjrt' };
/** Programs that a worker runs in two or three steps. */
const SOME_STEPS = 12;

let home: Home;
let realPath: string;
beforeAll(async () => {
  realPath = (await installPlugin({ platform: 'cpu' })).path;
  home = await Home.make();
});
afterAll(() => home.remove());

/** A run of two workers, one of which meets a fault. */
async function runWith(fault: PluginFault) {
  const plugin = { realPath, directory: home.path, fault, after: SOME_STEPS, isOnce: true };
  process.env.WEFT_PJRT_PLUGIN = faultyPlugin(plugin);
  const run = home.start('launch', 'debugNano', '--local', '2', ...withSettings(small));
  const { code, stdout, stderr } = await run.ended;
  expect(code, stderr + stdout).toBe(0);
  const id = await run.runId();
  expect(home.metrics(id).map(({ step }) => step)).toEqual(Array.from({ length: STEPS }, (_, i) => i + 1));
  const check = await home.weft('data', 'ledger', id, '--check');
  expect(check.code, check.stdout + check.stderr).toBe(0);
  return { said: stdout + stderr, lost: home.lostWorkers(id) };
}

describe('one of two workers whose accelerator gives up', () => {
  it('leaves with a sentence when its device fails, and the run goes on', async () => {
    const { said, lost } = await runWith('INTERNAL');
    const sentence =
      /the device failed \(PJRT_LoadedExecutable_Execute: CUDA_ERROR_ILLEGAL_ADDRESS: an illegal memory access\)/;
    expect(said).toMatch(/worker [01] ended: /);
    expect(said).toMatch(sentence);
    expect(lost).toEqual([expect.stringMatching(sentence)]);
  });

  it('is named with its signal when the plugin kills the process, and the run goes on', async () => {
    const { said, lost } = await runWith('ABORT');
    expect(said).toMatch(/worker [01] was killed by SIGABRT/);
    expect(lost).toHaveLength(1);
  });
});
