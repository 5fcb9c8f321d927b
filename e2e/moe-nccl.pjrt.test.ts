import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { installPlugin } from '@weft/backend-pjrt';
import { applySettings, type RunConfig, resolveRunConfig } from '@weft/config';
import { recipe } from '@weft/recipes';
import { ncclStandIn, standInEnvironment } from '@weft/testing';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { trainWithExperts } from './expert-cluster.js';
import { ENDLESS, Home, lossDifference, repository, stepsUpTo, withSettings } from './weft.js';

const STEPS = 4;
/** The smallest model, with 4 experts in both layers that drop tokens; two microbatches a rank and step. */
const run = {
  'data.weights': '0:0:1',
  globalBatchSize: 8,
  microbatchSize: 2,
  'optimizer.learningRate': 1e-3,
  'model.decoder.moe.experts': 4,
  'model.decoder.moe.everyLayers': 1,
  'model.decoder.moe.capacityFactor': 1.25,
  'model.decoder.moe.groupSize': 64,
};
let home: Home;
let calls: string;
beforeAll(async () => {
  home = await Home.make();
  calls = join(home.path, 'calls.txt');
  process.env.WEFT_PJRT_PLUGIN = (await installPlugin({ platform: 'cpu' })).path;
  process.env.JAX_NUM_CPU_DEVICES = '1';
  // The memory of a virtual device is the process's own, on which the stand-in of NCCL works.
  Object.assign(process.env, standInEnvironment(ncclStandIn(home.path)), { STAND_IN_LOG: calls });
});
afterAll(() => home.remove());

function moe(collectives: string): RunConfig {
  const settings = {
    ...run,
    steps: STEPS,
    workers: 2,
    expertWorkers: 2,
    'evaluation.sequencesPerSource': 2,
    'evaluation.everySteps': STEPS,
    'engine.backend': 'pjrt',
    'engine.collectives': collectives,
    'engine.threadsPerWorker': 1,
    'data.directory': join(repository, '.weft/data/demo'),
  };
  const words = Object.entries(settings).map(([name, value]) => `${name}=${value}`);
  return resolveRunConfig(applySettings(recipe('debugNano'), words));
}

it('tokens that go from device to device by NCCL give the losses and drops of tokens that go over connections', async () => {
  const fresh = { firstStep: 1, state: { kind: 'fresh' } } as const;
  const expected = await trainWithExperts(moe('ring'), join(home.path, 'ring'), fresh);
  const steps = await trainWithExperts(moe('nccl'), join(home.path, 'nccl'), fresh);
  expect(steps.size).toBe(STEPS);
  for (const [step, { loss, gradNorm, heldOut, experts }] of steps) {
    const other = expected.get(step)!;
    expect([loss, gradNorm, heldOut?.sources]).toEqual([other.loss, other.gradNorm, other.heldOut?.sources]);
    expect(experts?.layers).toEqual(other.experts?.layers);
    // The rows are the same, and so are the numbers of rows.
    expect(Math.abs(experts!.bytesSent / other.experts!.bytesSent - 1)).toBeLessThan(0.01);
  }
  expect(steps.get(1)!.experts!.layers.some(({ droppedShare }) => droppedShare > 0)).toBe(true);
  const lines = readFileSync(calls, 'utf8').split('\n');
  // Two communicators for each of two expert workers, of three members each, and one for the sums of the two ranks.
  expect(lines.filter((line) => line.startsWith('init rank'))).toHaveLength(2 * 2 * 3 + 2);
  expect(lines.filter((line) => line.startsWith('abort rank'))).toHaveLength(2 * 2 * 3 + 2);
  expect(lines.some((line) => /^send \d+ to 0$/.test(line))).toBe(true);
});

it('an expert worker that is killed leaves its experts to their copy, and the run goes on by NCCL without a step back', async () => {
  // A router's choice is a step function: larger rates soon turn the last bit into another expert.
  const endless = { ...run, ...ENDLESS, 'optimizer.learningRate': 3e-4, 'checkpoint.everySteps': 1_000_000 };
  const settings = withSettings({ ...endless, 'engine.backend': 'pjrt', 'engine.collectives': 'nccl' });
  const cluster = home.start('launch', 'debugNano', '--local', '2', '--expert-workers', '2', ...settings);
  const id = await cluster.runId();
  await home.untilStep(id, 6);
  process.kill(cluster.children('expert-worker')[0] ?? 0, 'SIGKILL');
  await home.untilTrainedIn(id, 2, 6);
  await cluster.interrupt();
  const metrics = home.metrics(id);
  expect(metrics.map(({ step }) => step)).toEqual(stepsUpTo(home.lastStep(id)));
  const events = readFileSync(join(home.runDirectory(id), 'events.jsonl'), 'utf8');
  expect(events).toMatch(/"kind":"workerLost".*"role":"expertWorker"/);
  expect(events).not.toMatch(/"kind":"(requeued|resumed)"/);
  const messages = logs();
  const count = (pattern: RegExp) => messages.match(pattern)?.length;
  // Two ranks in two generations; two expert workers, then one.
  expect(count(/tokens of run \S+ reach experts by NCCL 2\.27\.7/g)).toBe(4);
  expect(count(/tokens of run \S+ come to experts by NCCL 2\.27\.7/g)).toBe(3);
  const whole = { ...endless, steps: metrics.length, 'engine.backend': 'tensorflow' };
  const expected = home.metrics(await home.train('debugNano', 2, whole));
  expect(lossDifference(metrics, expected)).toBeLessThan(1e-4);
});

function logs(): string {
  const [newest = ''] = readdirSync(join(home.path, 'logs')).sort().slice(-1);
  const folder = join(home.path, 'logs', newest);
  return readdirSync(folder)
    .map((name) => readFileSync(join(folder, name), 'utf8'))
    .join('');
}
