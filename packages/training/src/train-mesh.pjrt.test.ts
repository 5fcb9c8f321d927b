import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createPjrtExecutor, installPlugin, type Mesh } from '@weft/backend-pjrt';
import { type RunConfig, resolveRunConfig } from '@weft/config';
import { recipe } from '@weft/recipes';
import { taskOf } from '@weft/tasks';
import { type Executor, elementCount, type PhaseInputs } from '@weft/tensor';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { syntheticBatch } from './testing/synthetic-batch.js';
import { trainProgram } from './train-program.js';

const nano = recipe('debugNano');
const config: RunConfig = { ...nano, workers: 1, globalBatchSize: 4, microbatchSize: 4 };
const withExperts: RunConfig = resolveRunConfig({
  ...config,
  model: {
    ...config.model,
    decoder: { ...config.model.decoder, moe: { experts: 4, everyLayers: 2, groupSize: config.model.sequenceLength } },
  },
});

const STEPS = Number(process.env.WEFT_MESH_STEPS ?? 3);

let folder: string;
let pluginPath: string;
const open: Executor[] = [];
beforeAll(async () => {
  folder = process.env.KEEP ?? mkdtempSync(join(tmpdir(), 'weft-executables-'));
  pluginPath = (await installPlugin({ platform: 'cpu' })).path;
});
afterAll(async () => {
  for (const executor of open) await executor.dispose();
  if (process.env.KEEP === undefined) rmSync(folder, { recursive: true });
});

async function train(config: RunConfig, mesh: Mesh) {
  const program = trainProgram(taskOf(config), config, 'separate');
  const devices = mesh.fsdp * mesh.tensor * mesh.expert;
  const executor = createPjrtExecutor(program, {
    precision: 'fp32',
    recompute: 'none',
    pluginPath,
    executables: folder,
    mesh,
    clientOptions: { cpu_device_count: devices },
  });
  open.push(executor);
  const initial = new Map(program.parameters.map(({ name, initialValue }) => [name, initialValue]));
  await executor.writeState(
    Object.fromEntries(
      Object.entries(program.state).map(([variable, { shape }]) => [
        variable,
        initial.get(variable)?.(config.seed) ?? new Float32Array(elementCount(shape)),
      ]),
    ),
  );
  const losses: number[] = [];
  const first = new Map<string, Float32Array>();
  for (let number = 1; number <= STEPS; number++) {
    const { loss, buckets } = await step(executor, syntheticBatch(config, number), number);
    losses.push(loss);
    if (number === 1)
      for (const { name, entries } of program.buckets) first.set(entries[0]?.name ?? 'totals', buckets[name] as Float32Array);
  }
  return { losses, gradients: first };
}

/** One step of one worker. */
async function step(executor: Executor, batch: PhaseInputs, number: number) {
  const t = performance.now();
  const buckets = await executor.run('gradients', batch);
  const copies = Object.fromEntries(Object.entries(buckets).map(([name, { data }]) => [name, Float32Array.from(data)]));
  const measured = await executor.run('measure', buckets);
  const value = (name: string) => measured[name]?.data[0] ?? Number.NaN;
  const [loss, gradNorm] = [value('loss'), value('gradNorm')];
  const given = { gradNorm: Float32Array.of(gradNorm), step: Float32Array.of(number) };
  const applied = await executor.run('apply', { ...buckets, ...given });
  for (const tensor of [buckets, measured, applied].flatMap((tensors) => Object.values(tensors))) tensor.dispose();
  console.log(number, loss, gradNorm, performance.now() - t);
  return { loss, buckets: copies };
}

const one = { fsdp: 1, tensor: 1, expert: 1 };

describe.each([
  ['fsdp 2', config, { ...one, fsdp: 2 }],
  ['fsdp 4', config, { ...one, fsdp: 4 }],
  ['tensor 2', config, { ...one, tensor: 2 }],
  ['fsdp 2 × tensor 2', config, { ...one, fsdp: 2, tensor: 2 }],
  ['expert 2', withExperts, { ...one, expert: 2 }],
  ['expert 4', withExperts, { ...one, expert: 4 }],
])('a mesh of %s', (_, config, mesh) => {
  it('has the losses and gradients of one device', async () => {
    const [expected, actual] = [await train(config, one), await train(config, mesh)];
    for (const [i, loss] of actual.losses.entries())
      expect.soft(Math.abs(loss / (expected.losses[i] ?? 0) - 1), `loss of step ${i + 1}`).toBeLessThan(1e-4);
    for (const [name, gradient] of expected.gradients) {
      const ours = actual.gradients.get(name) ?? new Float32Array(0);
      const norm = (values: Float32Array) => Math.hypot(...values);
      expect.soft(norm(gradient.map((x, i) => x - (ours[i] ?? 0))), name).toBeLessThanOrEqual(1e-5 * norm(gradient));
    }
  });
});
