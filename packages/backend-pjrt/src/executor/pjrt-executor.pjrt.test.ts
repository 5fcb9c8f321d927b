import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type Executor,
  type HostTensor,
  javascriptExecutor,
  type Program,
  sparseSoftmaxCrossEntropy,
  tf,
} from '@weft/tensor';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cpuPlugin } from '../testing/cpu-client.js';
import { createPjrtExecutor, type PjrtOptions } from './create-executor.js';
import type { CompileProgress } from './pjrt-executor.js';

// Legend: B rows, D width, V classes.
const [B, D, V] = [6, 8, 5];

/** A two-layer classifier with a gradient phase and an update phase. */
const classifier: Program = {
  name: 'classifier',
  state: {
    w1_DD: { shape: [D, D], dtype: 'float32' },
    w2_DV: { shape: [D, V], dtype: 'float32' },
    count: { shape: [], dtype: 'float32' },
  },
  phases: {
    gradients: {
      inputs: { x_BD: { shape: [B, D], dtype: 'float32' }, labels: { shape: [B], dtype: 'int32' } },
      run: ({ input, read }) => {
        const lossOf = (w1: tf.Tensor, w2: tf.Tensor) => {
          const hidden_BD = tf.tanh(tf.matMul(input('x_BD') as tf.Tensor2D, w1 as tf.Tensor2D));
          const logits_BV = tf.matMul(hidden_BD, w2 as tf.Tensor2D) as tf.Tensor2D;
          return tf.sum(sparseSoftmaxCrossEntropy(logits_BV, input('labels') as tf.Tensor1D)) as tf.Scalar;
        };
        const { value, grads } = tf.valueAndGrads(lossOf)([read('w1_DD'), read('w2_DV')]);
        return { loss: value, w1_DD: grads[0] as tf.Tensor, w2_DV: grads[1] as tf.Tensor };
      },
    },
    update: {
      inputs: { g1: { shape: [D, D], dtype: 'float32' }, g2: { shape: [D, V], dtype: 'float32' } },
      run: ({ input, read, assign }) => {
        assign('w1_DD', tf.sub(read('w1_DD'), tf.mul(input('g1'), 0.1)));
        assign('w2_DV', tf.sub(read('w2_DV'), tf.mul(input('g2'), 0.1)));
        assign('count', tf.add(read('count'), 1));
        return { before: read('count') };
      },
    },
  },
};

const side = 64;
const square = { shape: [side, side], dtype: 'float32' } as const;

/** x → sent = 2x leaves; what comes back as `answer` is multiplied by x. */
const remoteCall: Program = {
  name: 'remote call',
  state: { runs: { shape: [], dtype: 'float32' } },
  phases: {
    call: {
      inputs: { x: square, answer: square },
      run: ({ input, read, assign }) => {
        assign('runs', tf.add(read('runs'), 1));
        const x = input('x');
        return { sent: tf.mul(x, 2), same: tf.mul(x, 2), echo: x, y: tf.mul(input('answer'), x) };
      },
    },
  },
};

const wave = (n: number, phase: number) => Float32Array.from({ length: n }, (_, i) => Math.sin(i * 1.7 + phase));
const batch = { x_BD: wave(B * D, 0.3), labels: Int32Array.from([0, 1, 2, 3, 4, 0]) };
const initial = { w1_DD: wave(D * D, 1), w2_DV: wave(D * V, 2), count: Float32Array.of(0) };
const filled = (value: number) => new Float32Array(side * side).fill(value);
const first = (tensors: Record<string, HostTensor>, name: string) => tensors[name]?.data[0];

let folder: string;
let pluginPath: string;
const open: Executor[] = [];
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'weft-executables-'));
  pluginPath = (await cpuPlugin()).path;
});
afterAll(async () => {
  for (const executor of open) await executor.dispose();
  rmSync(folder, { recursive: true });
});

function executor(program: Program, options: Partial<PjrtOptions> = {}): Executor {
  const made = createPjrtExecutor(program, {
    precision: 'fp32',
    recompute: 'none',
    pluginPath,
    executables: folder,
    ...options,
  });
  open.push(made);
  return made;
}

async function train(engine: Executor, steps: number): Promise<number[]> {
  const losses: number[] = [];
  for (let step = 0; step < steps; step++) {
    const { loss, w1_DD, w2_DV } = await engine.run('gradients', batch);
    losses.push(loss?.data[0] as number);
    const { before } = await engine.run('update', { g1: w1_DD as HostTensor, g2: w2_DV as HostTensor });
    expect(before?.data[0]).toBe(step);
    for (const tensor of [loss, w1_DD, w2_DV, before]) tensor?.dispose();
  }
  return losses;
}

describe('a program on a device', () => {
  test('learns what it learns in JavaScript, with its state in place', async () => {
    const [device, javascript] = [executor(classifier), javascriptExecutor(classifier)];
    await Promise.all([device.writeState(initial), javascript.writeState(initial)]);
    const [losses, expected] = [await train(device, 10), await train(javascript, 10)];
    for (const [i, loss] of losses.entries()) expect(Math.abs(loss / (expected[i] as number) - 1)).toBeLessThan(1e-5);
    const [ours, theirs] = [await device.readState(), await javascript.readState()];
    for (const [name, { data }] of Object.entries(theirs))
      for (const [i, x] of data.entries()) expect(ours[name]?.data[i]).toBeCloseTo(x, 4);
  });

  test('bf16 products are near the fp32 ones, and not the same', async () => {
    const [exact, rounded] = [executor(classifier), executor(classifier, { precision: 'bf16' })];
    await Promise.all([exact.writeState(initial), rounded.writeState(initial)]);
    const [a, b] = [await train(exact, 3), await train(rounded, 3)];
    expect(a).not.toEqual(b);
    for (const [i, loss] of a.entries()) expect(Math.abs((b[i] as number) / loss - 1)).toBeLessThan(0.02);
  });

  test('a snapshot is of the moment when it was asked for', async () => {
    const device = executor(classifier);
    await device.writeState(initial);
    await train(device, 1);
    const snapshot = device.readState(['count']);
    await train2(device);
    expect((await snapshot).count?.data[0]).toBe(1);
    expect((await device.readState(['count'])).count?.data[0]).toBe(2);
  });

  async function train2(device: Executor): Promise<void> {
    const { w1_DD, w2_DV } = await device.run('gradients', batch);
    await device.run('update', { g1: w1_DD as HostTensor, g2: w2_DV as HostTensor });
  }

  test('starts again without compiling', async () => {
    const told: CompileProgress[] = [];
    const cold = executor(classifier, { onCompile: (progress) => told.push(progress) });
    await cold.writeState(initial);
    await train(cold, 1);
    expect(told.filter(({ isDone }) => isDone).map(({ phase }) => phase)).toEqual(['gradients', 'update']);
    const kept = readdirSync(folder);
    const warm = executor(classifier);
    await warm.writeState(initial);
    expect(await train(warm, 2)).toHaveLength(2);
    expect(readdirSync(folder)).toEqual(kept);
    for (const name of kept) writeFileSync(join(folder, name), 'broken');
    const mended = executor(classifier);
    await mended.writeState(initial);
    expect(await train(mended, 1)).toHaveLength(1);
  });
});

describe('a phase that is fed and taken bit by bit', () => {
  test('gives an output before a late input comes, and several runs are under way at a time', async () => {
    const device = executor(remoteCall);
    await device.writeState({ runs: Float32Array.of(0) });
    const runs = await Promise.all([3, 5].map((x) => device.begin('call', { x: filled(x) })));
    const sent = await Promise.all(runs.map((run) => run.advance({}, ['sent'])));
    expect(sent.map((tensors) => first(tensors, 'sent'))).toEqual([6, 10]);
    const rest = await Promise.all(
      runs.map((run, i) => run.advance({ answer: sent[1 - i]?.sent as HostTensor }, ['y', 'same', 'echo'])),
    );
    expect(rest.map((tensors) => ['y', 'same', 'echo'].map((name) => first(tensors, name)))).toEqual([
      [30, 6, 3],
      [30, 10, 5],
    ]);
    expect(first(await device.readState(), 'runs')).toBe(2);
  });

  test('refuses names that are unknown or used before, and goes on', async () => {
    const device = executor(remoteCall);
    await device.writeState({ runs: Float32Array.of(0) });
    const run = await device.begin('call', { x: filled(1) });
    await expect(run.advance({ x: filled(1) }, [])).rejects.toThrow('input x is unknown or was used before');
    await expect(run.advance({}, ['z'])).rejects.toThrow('output z is unknown or was used before');
    await expect(run.advance({ answer: new Float32Array(3) }, [])).rejects.toThrow('got float32 with 3 elements');
    expect(first(await run.advance({ answer: filled(7) }, ['y']), 'y')).toBe(7);
    await run.abandon();
  });

  test('says which inputs an output still waits for', async () => {
    const device = executor(remoteCall);
    await device.writeState({ runs: Float32Array.of(0) });
    const run = await device.begin('call', { x: filled(1) });
    await expect(run.advance({}, ['y'])).rejects.toThrow('phase call: output y still waits for the inputs answer');
  });

  test('is dropped half-way without a trace', async () => {
    const device = executor(remoteCall);
    await device.writeState({ runs: Float32Array.of(0) });
    const run = await device.begin('call', { x: filled(1) });
    await run.advance({}, ['sent']);
    await run.abandon();
    await run.abandon();
    const whole = await device.run('call', { x: filled(2), answer: filled(4) });
    expect(first(whole, 'y')).toBe(8);
    expect(first(await device.readState(), 'runs')).toBe(1);
  });
});

describe('what goes wrong is said', () => {
  test('names program, phase, op and its inputs', async () => {
    const broken: Program = {
      name: 'broken',
      state: {},
      phases: { only: { inputs: { x: square }, run: ({ input }) => ({ y: tf.einsum('ij->ji', input('x')) }) } },
    };
    await expect(executor(broken).run('only', { x: filled(1) })).rejects.toThrow(/program broken, phase only/);
    const unwritten = executor(classifier);
    await expect(unwritten.run('gradients', batch)).rejects.toThrow(/phase gradients: state w1_DD was never written/);
    await expect(unwritten.run('nothing', {})).rejects.toThrow('program classifier has no phase nothing');
    await expect(unwritten.run('gradients', { x_BD: batch.x_BD })).rejects.toThrow('input labels is missing');
  });

  test('may be disposed twice, with runs under way', async () => {
    const device = executor(remoteCall);
    await device.writeState({ runs: Float32Array.of(0) });
    await device.begin('call', { x: filled(1), answer: filled(1) });
    await device.dispose();
    await device.dispose();
  });
});
