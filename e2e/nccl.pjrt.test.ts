import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { installPlugin } from '@weft/backend-pjrt';
import { ncclStandIn, standInEnvironment } from '@weft/testing';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ENDLESS, Home, lossDifference, stepsUpTo, withSettings } from './weft.js';

// Text alone, and a microbatch as large as any rank's part: few phases to compile.
const run = {
  ...ENDLESS,
  'optimizer.learningRate': 1e-3,
  microbatchSize: 6,
  globalBatchSize: 12,
  'data.weights': '0:0:1',
  'checkpoint.everySteps': 5,
};
const pjrt = { ...run, 'engine.backend': 'pjrt', 'engine.mesh.fsdp': 2 };

let home: Home;
beforeAll(async () => {
  process.env.WEFT_PJRT_PLUGIN = (await installPlugin({ platform: 'cpu' })).path;
  process.env.JAX_NUM_CPU_DEVICES = '2';
  home = await Home.make();
  // The memory of virtual devices is the process's own, on which the stand-in of NCCL works.
  Object.assign(process.env, standInEnvironment(ncclStandIn(home.path)));
});
afterAll(() => home.remove());

function logs(): string {
  const [newest = ''] = readdirSync(join(home.path, 'logs')).sort().slice(-1);
  const folder = join(home.path, 'logs', newest);
  return readdirSync(folder)
    .map((name) => readFileSync(join(folder, name), 'utf8'))
    .join('');
}

it('sums gradients by NCCL in the memory of two devices each, to the losses of the ring, and goes on when a worker is killed', async () => {
  const settings = withSettings({ ...pjrt, 'engine.collectives': 'nccl' });
  const cluster = home.start('launch', 'debugNano', '--local', '3', ...settings);
  const id = await cluster.runId();
  await home.untilStep(id, 5);
  process.kill(cluster.children('worker')[1] ?? 0, 'SIGKILL');
  await home.untilTrainedIn(id, 2, 10);
  await cluster.interrupt();

  const summed = /gradients of run \S+ are summed by NCCL 2\.27\.7, in the memory of 2 devices/g;
  // Three workers in the first generation, two in the next.
  expect(logs().match(summed)).toHaveLength(5);
  const metrics = home.metrics(id);
  expect(metrics.map(({ step }) => step)).toEqual(stepsUpTo(home.lastStep(id)));
  const whole = { ...run, steps: metrics.length, 'engine.backend': 'tensorflow' };
  const expected = home.metrics(await home.train('debugNano', 1, whole));
  expect(lossDifference(metrics, expected)).toBeLessThan(1e-4);
});

it('refuses a run that asks for NCCL where a worker lacks it, in one sentence', async () => {
  const standIn = process.env.WEFT_NCCL_LIBRARY;
  process.env.WEFT_NCCL_LIBRARY = '';
  const settings = withSettings({ ...pjrt, 'engine.collectives': 'nccl' });
  const { code, stdout, stderr } = await home.weft('launch', 'debugNano', '--local', '2', ...settings);
  process.env.WEFT_NCCL_LIBRARY = standIn;
  expect(code).not.toBe(0);
  expect(stdout + stderr).toContain('engine.collectives is nccl, but this process has no NCCL library');
});
