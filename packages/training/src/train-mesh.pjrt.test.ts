import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createPjrtExecutor, installPlugin, type Mesh, type PjrtOptions } from '@weft/backend-pjrt';
import { inMemoryRing } from '@weft/collectives';
import { type RunConfig, resolveRunConfig } from '@weft/config';
import { recipe } from '@weft/recipes';
import { taskOf } from '@weft/tasks';
import { type Executor, elementCount, type HostTensor, type LogicalAxis, type PhaseInputs, paste } from '@weft/tensor';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { reduceGradients } from './gradient-buckets.js';
import { initialiseState } from './state.js';
import { syntheticBatch, variantsOf, withoutImages, withRoomFor } from './testing/synthetic-batch.js';
import { trainProgram } from './train-program.js';

const STEPS = 20;
/** Of images, in the smaller microbatches. */
const ROOM = 4;
const ONE: Mesh = { fsdp: 1, tensor: 1, expert: 1 };
const nano = recipe('debugNano');
const dense: RunConfig = { ...nano, workers: 1, globalBatchSize: 4, microbatchSize: 4 };
const groupSize = dense.model.sequenceLength;
const decoder = { ...dense.model.decoder, moe: { experts: 4, everyLayers: 2, groupSize } };
const withExperts = resolveRunConfig({ ...dense, model: { ...dense.model, decoder } });
/** Its means of rows and columns are cut as the parameter's axes are. */
const withAdafactor: RunConfig = { ...withExperts, optimizer: { ...withExperts.optimizer, kind: 'adafactor' } };

let folder: string;
let pluginPath: string;
const open: Executor[] = [];
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'weft-executables-'));
  pluginPath = (await installPlugin({ platform: 'cpu' })).path;
});
afterAll(async () => {
  for (const executor of open) await executor.dispose();
  rmSync(folder, { recursive: true });
});

const programOf = (config: RunConfig) =>
  trainProgram(taskOf(config), config, { layout: 'separate', variants: variantsOf(config, [ROOM]) });

/** An executor over as many virtual devices as the mesh has, with a state from the seed. */
async function executorOn(config: RunConfig, mesh: Mesh, options: Partial<PjrtOptions> = {}) {
  const program = programOf(config);
  const executor = createPjrtExecutor(program, {
    precision: 'fp32',
    recompute: 'none',
    pluginPath,
    executables: folder,
    mesh,
    clientOptions: { cpu_device_count: mesh.fsdp * mesh.tensor * mesh.expert },
    ...options,
  });
  open.push(executor);
  await initialiseState(executor, program, config.seed);
  return executor;
}

/** Steps of one worker: their losses, and the gradients of the first one by parameter. */
async function train(executor: Executor, config: RunConfig, from: number, to: number) {
  const { buckets: layout } = programOf(config);
  const losses: number[] = [];
  const gradients = new Map<string, Float32Array>();
  for (let number = from; number <= to; number++) {
    const buckets = await executor.run('gradients', syntheticBatch(config, number));
    if (number === from)
      for (const { name, entries } of layout)
        gradients.set(entries[0]?.name ?? 'totals', Float32Array.from(buckets[name]?.data ?? []));
    losses.push(await update(executor, buckets, number));
  }
  return { losses, gradients };
}

async function update(executor: Executor, buckets: Record<string, HostTensor>, number: number): Promise<number> {
  const measured = await executor.run('measure', buckets);
  const { loss, gradNorm } = measured;
  const given: PhaseInputs = { gradNorm: gradNorm as HostTensor, step: Float32Array.of(number) };
  const applied = await executor.run('apply', { ...buckets, ...given });
  const result = loss?.data[0] ?? Number.NaN;
  for (const tensor of [buckets, measured, applied].flatMap((tensors) => Object.values(tensors))) tensor.dispose();
  return result;
}

const onOneDevice = new Map<RunConfig, ReturnType<typeof train>>();
function expectedOf(config: RunConfig): ReturnType<typeof train> {
  const known = onOneDevice.get(config) ?? executorOn(config, ONE).then((one) => train(one, config, 1, STEPS));
  onOneDevice.set(config, known);
  return known;
}

/** Bytes of the state on a device when every array is cut over the axes of the mesh that it has a name for. */
function shareOf(config: RunConfig, { fsdp, tensor, expert }: Mesh): number {
  return Object.values(programOf(config).state).reduce((sum, { shape, axes = [] }) => {
    const isStack = axes.includes('expert');
    const parts: Partial<Record<LogicalAxis, number>> = {
      embed: isStack ? fsdp : fsdp * expert,
      heads: tensor,
      mlp: tensor,
      vocabulary: tensor,
      expert,
    };
    const cut = axes.reduce((product, axis) => product * (axis === null ? 1 : (parts[axis] ?? 1)), 1);
    return sum + (4 * elementCount(shape)) / cut;
  }, 0);
}

function expectLosses(actual: readonly number[], expected: readonly number[]): void {
  expect(actual).toHaveLength(expected.length);
  for (const [i, loss] of actual.entries())
    expect.soft(Math.abs(loss / (expected[i] ?? 0) - 1), `loss ${i + 1}`).toBeLessThan(1e-4);
}

const norm = (values: Float32Array) => Math.hypot(...values);

describe.each([
  ['fsdp 2', dense, { ...ONE, fsdp: 2 }],
  ['fsdp 4', dense, { ...ONE, fsdp: 4 }],
  ['tensor 2', dense, { ...ONE, tensor: 2 }],
  ['fsdp 2 × tensor 2', dense, { ...ONE, fsdp: 2, tensor: 2 }],
  ['expert 2', withExperts, { ...ONE, expert: 2 }],
  ['expert 4', withExperts, { ...ONE, expert: 4 }],
])('training on a mesh of %s', (_, config, mesh) => {
  it('has the gradients of one device to 1e-5, its losses over 20 steps to 1e-4, and its share of the state', async () => {
    const expected = await expectedOf(config);
    // One of them gathers its weights again for the backward pass.
    const executor = await executorOn(config, mesh, { recompute: mesh.fsdp === 4 ? 'full' : 'none' });
    const { losses, gradients } = await train(executor, config, 1, STEPS);
    expectLosses(losses, expected.losses);
    for (const [name, gradient] of expected.gradients) {
      const ours = gradients.get(name) ?? new Float32Array(0);
      const apart = norm(gradient.map((x, i) => x - (ours[i] ?? Number.NaN)));
      expect.soft(apart, name).toBeLessThanOrEqual(1e-5 * norm(gradient));
    }
    for (const bytes of executor.stateBytes()) expect.soft(bytes).toBe(shareOf(config, mesh));
  });
});

it('AdaFactor keeps its share of the means of rows and columns, and has the losses of one device to 1e-4', async () => {
  // Few steps: its updates do not shrink with their gradients, so that rounding grows into another choice of experts.
  const steps = 8;
  const mesh = { ...ONE, fsdp: 2, expert: 2 };
  const [one, cut] = [await executorOn(withAdafactor, ONE), await executorOn(withAdafactor, mesh)];
  const expected = await train(one, withAdafactor, 1, steps);
  expectLosses((await train(cut, withAdafactor, 1, steps)).losses, expected.losses);
  for (const bytes of cut.stateBytes()) expect.soft(bytes).toBe(shareOf(withAdafactor, mesh));
});

it('gradients leave part by part while the backward pass goes on, with the bits of their kind, and come back as shards', async () => {
  const mesh = { ...ONE, fsdp: 2, tensor: 2 };
  const executor = await executorOn(dense, mesh);
  const { buckets } = programOf(dense);
  const batch = syntheticBatch(dense, 1);
  const whole = await executor.run('gradients', batch);
  const groups = inMemoryRing(2);
  const reduced = await Promise.all(
    groups.map(async (group) => {
      const run = await executor.begin('gradients', batch);
      return reduceGradients(run, { buckets, group, sameParts: true }, () => {});
    }),
  );
  for (const { name } of buckets) {
    const { spec, parts } = reduced[1]![name]!;
    const sum = new Float32Array(elementCount(spec.shape));
    for (const part of parts) paste(sum, spec.shape, part.box, (await part.read()).data);
    const twice = Float32Array.from(whole[name]?.data ?? [], (x) => 2 * x);
    expect.soft(norm(sum.map((x, i) => x - (twice[i] ?? Number.NaN))), name).toBeLessThanOrEqual(1e-5 * norm(twice));
  }
  const [first, second] = await Promise.all(
    reduced.map(async (kept) => (await executor.run('measure', kept)).gradNorm?.data[0] ?? Number.NaN),
  );
  expect(first).toBe(second);
  expect(Math.abs((first ?? 0) / ((await executor.run('measure', whole)).gradNorm?.data[0] ?? 0) - 1)).toBeLessThan(
    1e-5,
  );
  for (const tensors of [whole, ...reduced]) for (const tensor of Object.values(tensors)) tensor.dispose();
  await Promise.all(groups.map((group) => group.close()));
});

it('sums over microbatches take the memory of the sums before, with their bits', async () => {
  const executor = await executorOn(dense, { ...ONE, fsdp: 2 });
  const { buckets } = programOf(dense);
  const batches = [1, 2].map((number) => syntheticBatch(dense, number));
  const [first, second] = batches as [(typeof batches)[0], (typeof batches)[0]];
  const sums = await executor.runResident('gradients', first);
  const twice = await executor.runResident('accumulate', { ...second, ...sums });
  const expected = await executor.run('accumulate', { ...second, ...(await executor.run('gradients', first)) });
  for (const { name } of buckets) {
    await expect.soft(sums[name]?.parts[0]?.read(), name).rejects.toThrow(/deleted|donated/);
    const { spec, parts } = twice[name]!;
    const sum = new Float32Array(elementCount(spec.shape));
    for (const part of parts) paste(sum, spec.shape, part.box, (await part.read()).data);
    expect.soft(sum, name).toEqual(Float32Array.from(expected[name]?.data ?? []));
  }
  for (const tensors of [sums, twice, expected]) for (const tensor of Object.values(tensors)) tensor.dispose();
});

it('images are spread over all devices, whoever’s they are, and give the gradients that all slots give', async () => {
  const { sequenceLength } = dense.model;
  // Three images, all of them of the first two sequences, which lie on the first device.
  const whole = withoutImages(syntheticBatch(dense, 1), 1.5 * sequenceLength);
  const packed = withRoomFor(whole, dense, ROOM);
  const phase = programOf(dense).phaseOf('gradients', packed);
  expect(phase).toBe(`gradients/${ROOM}-images`);
  const [one, two] = [await executorOn(dense, ONE), await executorOn(dense, { ...ONE, fsdp: 2 })];
  const [expected, actual] = [await one.run('gradients', whole), await two.run(phase, packed)];
  for (const [name, { data }] of Object.entries(expected)) {
    const gradient = Float32Array.from(data);
    const apart = norm(gradient.map((x, i) => x - (actual[name]?.data[i] ?? Number.NaN)));
    expect.soft(apart, name).toBeLessThanOrEqual(1e-5 * norm(gradient));
  }
});

it('state that was read from one mesh goes on in another', async () => {
  const expected = await expectedOf(dense);
  const wide = await executorOn(dense, { ...ONE, fsdp: 2, tensor: 2 });
  await train(wide, dense, 1, STEPS / 2);
  const state = await wide.readState();
  const automatic = { mesh: { allows: () => true } };
  for (const [mesh, options] of [[ONE], [{ ...ONE, fsdp: 2 }, automatic]] as const) {
    const next = await executorOn(dense, mesh, options);
    await next.writeState(state);
    for (const bytes of next.stateBytes()) expect(bytes).toBe(shareOf(dense, mesh));
    const { losses } = await train(next, dense, STEPS / 2 + 1, STEPS);
    expectLosses(losses, expected.losses.slice(STEPS / 2));
  }
});
