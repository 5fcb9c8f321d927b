import { deviceCount, readChip } from '@weft/backend-pjrt';
import { recipe, recipes } from '@weft/recipes';
import { expect, test } from 'vitest';
import { changesTo, type PlanTarget, planRun } from './plan-run.js';

const target: PlanTarget = {
  hosts: 4,
  devicesPerHost: 8,
  memoryBytes: 79 * 2 ** 30,
  chip: readChip('h100'),
  networkBytesPerSecond: 50e9,
  price: 2,
};
const alone = { fsdp: 1, tensor: 1, expert: 1 };
const sharded = { ...recipe('mm1-3b'), microbatchSize: 8, activationCheckpointing: 'full' } as const;

test('every recipe of the paper gets a mesh and hosts on which it fits 80 GB cards, in less than a minute', () => {
  for (const name of Object.keys(recipes).filter((each) => each.startsWith('mm1-'))) {
    const { layout, nearest } = planRun(recipe(name), { ...target, hosts: 1 });
    const chosen = layout.fits ? layout : nearest[0];
    expect(chosen?.fits, name).toBe(true);
    expect(deviceCount(chosen?.mesh ?? alone), name).toBe(8 * (chosen?.hostsPerWorker ?? 0));
  }
}, 60_000);

test('a run that fits is estimated: traffic, time, days and cost', () => {
  const { layout, nearest, microbatchesPerStep, traffic, time } = planRun(sharded, target);
  expect(layout).toMatchObject({ fits: true, mesh: { fsdp: 8, tensor: 1, expert: 1 }, hosts: 4, hostsPerWorker: 1 });
  expect(nearest).toEqual([]);
  expect(microbatchesPerStep).toBe(16);
  // 3.78 B gradients of 4 bytes, three of four parts sent twice; all is gathered twice in bf16 and scattered once in fp32.
  expect(traffic.betweenHosts / 3.78e9 / 4).toBeCloseTo(1.5, 2);
  expect(traffic.insideHost / (16 * 3.78e9 * 8 * (7 / 8))).toBeCloseTo(0.98, 1);
  const { stepSeconds = 0, mfu = 0, runSeconds = 0, cost = 0 } = time ?? {};
  expect(mfu).toBeGreaterThan(0.25);
  expect(mfu).toBeLessThan(0.5);
  expect(runSeconds).toBe(stepSeconds * sharded.steps);
  expect(cost).toBeCloseTo((runSeconds / 3600) * 32 * 2, 3);
  expect(planRun(sharded, { ...target, chip: undefined }).time).toBeNull();
});

test('a run that does not fit gets the checkpointing, microbatch and hosts that do', () => {
  const { layout, nearest } = planRun({ ...recipe('mm1-30b'), workers: 4 }, target);
  expect(layout.fits).toBe(false);
  const [runnable] = nearest;
  expect(runnable).toMatchObject({ hosts: 4, hostsPerWorker: 1, mesh: { tensor: 8 }, activationCheckpointing: 'full' });
  const smaller = { ...target, memoryBytes: 72 * 2 ** 30 };
  const [spanning] = planRun({ ...recipe('mm1-30b'), workers: 4 }, smaller).nearest;
  expect(spanning).toMatchObject({ hosts: 4, hostsPerWorker: 2, mesh: { fsdp: 16 } });
  const moe = planRun({ ...recipe('mm1-7b-moe-32e'), expertWorkers: 0 }, { ...target, hosts: 1 }).nearest[0];
  expect(moe?.hostsPerWorker).toBeGreaterThan(1);
  expect(moe?.mesh.tensor).toBeLessThanOrEqual(8);
  const settings = ['activationCheckpointing=full', 'engine.mesh.tensor=8'];
  expect(runnable && changesTo({ ...recipe('mm1-30b'), workers: 4 }, runnable)).toEqual(settings);
});
