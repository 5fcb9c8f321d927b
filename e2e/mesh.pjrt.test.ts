import { installPlugin } from '@weft/backend-pjrt';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ENDLESS, Home, lossDifference, type RunningCommand, stepsUpTo, withSettings } from './weft.js';

const small = { microbatchSize: 4, globalBatchSize: 8 };
// Bits differ between meshes: at a high rate they would soon differ by more, and how many steps there are depends on the machine.
const run = { ...ENDLESS, ...small, 'optimizer.learningRate': 1e-3, 'checkpoint.everySteps': 5 };
const onMesh = (fsdp: number) => ['engine.backend=pjrt', `engine.mesh.fsdp=${fsdp}`];

let home: Home;
beforeAll(async () => {
  process.env.WEFT_PJRT_PLUGIN = (await installPlugin({ platform: 'cpu' })).path;
  home = await Home.make();
});
afterAll(() => home.remove());

/** Starts a command whose workers have so many virtual devices each. */
function startOn(devices: number, ...words: string[]): RunningCommand {
  process.env.JAX_NUM_CPU_DEVICES = String(devices);
  return home.start(...words);
}

/** Kills every process once a checkpoint of this step or a later one is there; returns the last step of the run. */
async function killAfter(command: RunningCommand, id: string, checkpoint: number): Promise<number> {
  await home.untilCheckpoint(id, checkpoint);
  await command.killAll();
  return home.lastStep(id);
}

it('a worker of 2 devices waits for the experts of a layer in another process, which has 2 devices too', async () => {
  const moe = { 'model.decoder.moe.experts': 4, 'model.decoder.moe.everyLayers': 2, 'model.decoder.moe.groupSize': 64 };
  const sparse = { ...small, ...moe, steps: 4, 'optimizer.learningRate': 3e-4 };
  const expected = home.metrics(await home.train('debugNano', 1, { ...sparse, 'engine.backend': 'tensorflow' }));
  const set = [...withSettings(sparse), ...onMesh(2).flatMap((setting) => ['--set', setting])];
  const launched = startOn(2, 'launch', 'debugNano', '--local', '1', '--expert-workers', '1', ...set);
  const { code, stderr } = await launched.ended;
  expect(code, stderr).toBe(0);
  expect(lossDifference(home.metrics(await launched.runId()), expected)).toBeLessThan(1e-4);
});

it('2 workers of 2 devices, 1 of 4 and 3 TensorFlow workers train one run, each killed with -9 before the next goes on', async () => {
  const set = [...withSettings(run), ...onMesh(2).flatMap((setting) => ['--set', setting])];
  const two = startOn(2, 'launch', 'debugNano', '--local', '2', ...set);
  const id = await two.runId();
  const first = await killAfter(two, id, 5);

  const wide = onMesh(4).flatMap((setting) => ['--set', setting]);
  const one = startOn(4, 'resume', id, '--workers', '1', '--local', '1', ...wide);
  const second = await killAfter(one, id, first + 10);
  expect(second).toBeGreaterThan(first);

  const plain = ['--set', 'engine.backend=tensorflow', '--set', 'engine.mesh.fsdp=1'];
  const last = second + 5;
  const steps = ['--steps', String(last)];
  const three = await home.start('resume', id, ...steps, '--workers', '3', '--local', '3', ...plain).ended;
  expect(three.code, three.stderr).toBe(0);

  const whole = { ...run, steps: last, 'engine.backend': 'tensorflow' };
  const expected = home.metrics(await home.train('debugNano', 1, whole));
  const metrics = home.metrics(id);
  expect(metrics.map(({ step }) => step)).toEqual(stepsUpTo(last));
  expect(lossDifference(metrics, expected)).toBeLessThan(1e-4);
  expect(metrics.map(({ sequences }) => sequences)).toEqual(expected.map(({ sequences }) => sequences));
  const check = await home.weft('data', 'ledger', id, '--check');
  expect(check.code, check.stdout + check.stderr).toBe(0);
});
