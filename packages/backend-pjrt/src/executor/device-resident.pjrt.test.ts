import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { deferred } from '@weft/common';
import { type Box, cut, type Executor, type Program, type TensorSpec, tf } from '@weft/tensor';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import type { Mesh } from '../mesh/mesh.js';
import { Client } from '../native/client.js';
import { DeviceBuffer } from '../native/device-buffer.js';
import type { Executable } from '../native/executable.js';
import { cpuPlugin } from '../testing/cpu-client.js';
import { createPjrtExecutor } from './create-executor.js';

const [B, D] = [4, 8];
const mesh: Mesh = { fsdp: 2, tensor: 2, expert: 1 };
const weight: TensorSpec = { shape: [D, D], dtype: 'float32', axes: ['embed', 'mlp'] };
/** As a weight on the other side of a block lies. */
const turned: TensorSpec = { shape: [D, D], dtype: 'float32', axes: ['mlp', 'embed'] };
const bias: TensorSpec = { shape: [D], dtype: 'float32' };

/** A layer whose gradients are `g` and `h`; and one value that is two outputs, which a phase takes in two ways. */
const layer: Program = {
  name: 'layer',
  state: { w: weight, b: bias },
  phases: {
    gradients: {
      inputs: { x: { shape: [B, D], dtype: 'float32', axes: ['batch', null] } },
      run: ({ input, read }) => {
        const y = tf.add(tf.matMul(input('x') as tf.Tensor2D, read('w') as tf.Tensor2D), read('b'));
        const g = tf.matMul(input('x') as tf.Tensor2D, y as tf.Tensor2D, true);
        return { g, h: tf.sum(y, 0) };
      },
    },
    measure: {
      inputs: { g: weight, h: bias },
      run: ({ input }) => ({ sum: tf.add(tf.sum(input('g')), tf.sum(input('h'))) }),
    },
    accumulate: {
      inputs: { x: { shape: [B, D], dtype: 'float32', axes: ['batch', null] }, g: weight, h: bias },
      replaces: ['g', 'h'],
      run: ({ input }) => {
        const g = tf.matMul(input('x') as tf.Tensor2D, input('x') as tf.Tensor2D, true);
        return { g: tf.add(g, input('g')), h: tf.add(tf.sum(input('x'), 0), input('h')) };
      },
    },
    twice: {
      inputs: { x: { shape: [B, D], dtype: 'float32', axes: ['batch', null] } },
      run: ({ input }) => {
        const square = tf.matMul(input('x') as tf.Tensor2D, input('x') as tf.Tensor2D, true);
        return { left: square, right: square };
      },
    },
    look: {
      inputs: { left: weight, right: turned },
      run: ({ input }) => ({ sum: tf.sum(tf.maximum(input('left'), 0)), other: tf.sum(tf.maximum(input('right'), 0)) }),
    },
    apply: {
      inputs: { g: weight, h: bias },
      run: ({ input, read, assign }) => {
        assign('w', tf.sub(read('w'), tf.mul(input('g'), 0.01)));
        assign('b', tf.sub(read('b'), tf.mul(input('h'), 0.01)));
        return { first: tf.sum(read('b')) };
      },
    },
  },
};

const wave = (n: number, phase: number) => Float32Array.from({ length: n }, (_, i) => Math.sin(i * 1.7 + phase));
const initial = { w: wave(D * D, 1), b: wave(D, 2) };
const x = wave(B * D, 0.3);

let folder: string;
let pluginPath: string;
const open: Executor[] = [];
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'weft-executables-'));
  pluginPath = (await cpuPlugin()).path;
});
afterEach(() => vi.restoreAllMocks());
afterAll(async () => {
  for (const executor of open) await executor.dispose();
  rmSync(folder, { recursive: true });
});

async function onMesh(): Promise<Executor> {
  const clientOptions = { cpu_device_count: 4 };
  const executor = createPjrtExecutor(layer, {
    precision: 'fp32',
    recompute: 'none',
    pluginPath,
    executables: folder,
    mesh,
    clientOptions,
  });
  open.push(executor);
  await executor.writeState(initial);
  return executor;
}

async function sumOf(executor: Executor, phase: string, inputs: Parameters<Executor['run']>[1]): Promise<number> {
  const { sum } = await executor.run(phase, inputs);
  return sum?.data[0] ?? Number.NaN;
}

function expectNear(actual: number | undefined, expected: number): void {
  expect(Math.abs((actual ?? Number.NaN) / expected - 1)).toBeLessThan(1e-5);
}

const values = async (executor: Executor) => {
  const state = await executor.readState();
  return Object.values(state).map(({ data }) => Float32Array.from(data));
};

test('outputs stay on their devices between phases, and give what they give by way of the host', async () => {
  const [kept, copied] = [await onMesh(), await onMesh()];
  const onHost = await copied.run('gradients', { x });
  const expected = await sumOf(copied, 'measure', { g: onHost.g!, h: onHost.h! });
  await copied.run('apply', { g: onHost.g!, h: onHost.h! });

  const reads = vi.spyOn(DeviceBuffer.prototype, 'beginReading');
  const { g, h } = await kept.runResident('gradients', { x });
  const measured = await kept.runResident('measure', { g: g!, h: h! });
  await kept.runResident('apply', { g: g!, h: h! });
  expect(reads).not.toHaveBeenCalled();
  const sum = await measured.sum!.parts[0]!.read();
  expectNear(sum.data[0], expected);
  for (const tensor of [g, h, measured.sum]) tensor!.dispose();
  expect(await values(kept)).toEqual(await values(copied));
});

test('parts are the shards of the devices; written ones take the place of the old, on every device that has them', async () => {
  const executor = await onMesh();
  const { g, h } = await executor.runResident('gradients', { x });
  expect(g!.parts.map(({ box }) => box)).toEqual(
    [0, 4].flatMap((row) => [0, 4].map((column) => ({ begin: [row, column], size: [4, 4] }))),
  );
  expect(h!.parts.map(({ box }) => box)).toEqual([{ begin: [0], size: [D] }]);
  const before = await sumOf(executor, 'measure', { g: g!, h: h! });
  for (const part of [...g!.parts, ...h!.parts]) {
    const shard = await part.read();
    expect(part.hostBytes).toBe(shard.data.byteLength);
    for (const [i, value] of shard.data.entries()) shard.data[i] = 3 * value;
    await part.write(shard);
    shard.dispose();
  }
  expectNear(await sumOf(executor, 'measure', { g: g!, h: h! }), 3 * before);
  for (const tensor of [g, h]) tensor!.dispose();
});

test('one value may be two outputs: each is taken as its phase wants it, and one is written without the other', async () => {
  const executor = await onMesh();
  const { left, right } = await executor.runResident('twice', { x });
  expect(left!.parts.map(({ box }) => box)).toEqual(await executor.boxesOf(weight));
  expect(right!.parts.map(({ box }) => box)).toEqual(await executor.boxesOf(turned));
  const addresses = await left!.lend!((mine) =>
    right!.lend!(async (other) => [...mine, ...other].map((each) => each.address)),
  );
  expect(new Set(addresses).size).toBe(8);
  const before = await executor.run('look', { left: left!, right: right! });
  expectNear(before.sum?.data[0], before.other?.data[0] ?? 0);
  for (const part of left!.parts) {
    const shard = await part.read();
    await part.write({ ...shard, data: shard.data.map((value) => 2 * value) });
    shard.dispose();
  }
  const after = await executor.run('look', { left: left!, right: right! });
  expectNear(after.sum?.data[0], 2 * (before.sum?.data[0] ?? 0));
  expectNear(after.other?.data[0], before.other?.data[0] ?? 0);
  for (const tensor of [left, right]) tensor!.dispose();
});

test('an output that replaces an input lies in its memory, in all parts of a phase, and the input is used up', async () => {
  const compile = vi.spyOn(Client.prototype, 'compile');
  const executor = await onMesh();
  const onHost = await executor.run('gradients', { x });
  const expected = await executor.run('accumulate', { x, g: onHost.g!, h: onHost.h! });
  const before = await executor.runResident('gradients', { x });
  const after = await executor.runResident('accumulate', { x, g: before.g!, h: before.h! });
  const begun = await executor.begin('accumulate', { x, g: after.g!, h: after.h! });
  const last = await begun.keep({}, ['g', 'h']);
  for (const used of [before, after])
    for (const { parts } of Object.values(used)) await expect(parts[0]!.read()).rejects.toThrow(/deleted|donated/);
  const [{ data }] = [await last.h!.parts[0]!.read()];
  for (const [i, value] of data.entries()) expectNear(value, 2 * (expected.h!.data[i] ?? 0) - (onHost.h!.data[i] ?? 0));
  const executables = await Promise.all(compile.mock.results.map(({ value }) => value as Promise<Executable>));
  const texts = compile.mock.calls.map(([text]) => text);
  const aliases = executables.flatMap(({ memory }, i) =>
    texts[i]?.includes('layer/accumulate') ? [memory.aliases] : [],
  );
  // A shard of g, and all of h: of the phase in one part, and of its parts together.
  const [shard, whole] = [(4 * D * D) / 4, 4 * D];
  expect(aliases.reduce((sum, bytes) => sum + bytes, 0)).toBe(2 * (shard + whole));
  for (const tensor of [before, after, last].flatMap((tensors) => Object.values(tensors))) tensor.dispose();
});

test('outputs of one engine are refused by another program, and once they are freed', async () => {
  const executor = await onMesh();
  const { g, h } = await executor.runResident('gradients', { x });
  await expect(executor.run('measure', { g: h!, h: h! })).rejects.toThrow('input g is float32[8,8] but got float32[8]');
  g!.dispose();
  await expect(executor.run('measure', { g: g!, h: h! })).rejects.toThrow('used after it was freed');
  h!.dispose();
});

test('while the copy of a snapshot is held back, the phases of the next steps start and finish, and do not change it', async () => {
  const executor = await onMesh();
  const gate = deferred();
  const begin = DeviceBuffer.prototype.beginReading;
  const held = vi.spyOn(DeviceBuffer.prototype, 'beginReading').mockImplementation(function (
    this: DeviceBuffer,
    target,
  ) {
    const finish = begin.call(this, target);
    return () => gate.promise.then(finish);
  });
  const snapshot = await executor.copyState(['w', 'b']);
  expect(held).toHaveBeenCalledTimes(5);
  held.mockRestore();
  let isCopied = false;
  const all = Promise.all(Object.values(snapshot).flatMap((parts) => parts.map((part) => part.values)));
  void all.then(() => {
    isCopied = true;
  });
  for (let step = 0; step < 2; step++) {
    const { g, h } = await executor.runResident('gradients', { x });
    const { first } = await executor.run('apply', { g: g!, h: h! });
    expect(first).toBeDefined();
    for (const tensor of [g, h]) tensor!.dispose();
  }
  expect(await values(executor)).not.toEqual([initial.w, initial.b]);
  expect(isCopied).toBe(false);
  gate.resolve();
  await all;
  for (const { box, values: shard } of snapshot.w!)
    expect((await shard).data).toEqual(cut(initial.w, weight.shape, box));
  expect((await snapshot.b![0]!.values).data).toEqual(initial.b);
});

test('filling a variable asks for every shard once, whatever number of devices has it', async () => {
  const executor = await onMesh();
  const asked: [string, Box][] = [];
  await executor.fillState(['w', 'b'], async (name, box) => {
    asked.push([name, box]);
    return name === 'w' ? cut(wave(D * D, 5), weight.shape, box) : wave(D, 6);
  });
  expect(asked.map(([name, { size }]) => [name, ...size])).toEqual([...Array(4).fill(['w', 4, 4]), ['b', D]]);
  expect(await values(executor)).toEqual([wave(D * D, 5), wave(D, 6)]);
  await expect(executor.fillState(['b'], async () => wave(3, 0))).rejects.toThrow(
    'state b of program layer is float32[8] but got float32 with 3 elements',
  );
});
