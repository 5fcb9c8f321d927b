import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tensor from '@weft/tensor';
import { type Executor, type Program, tf } from '@weft/tensor';
import { classifier, executorConformance } from '@weft/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cpuPlugin } from '../testing/cpu-client.js';
import { createPjrtExecutor, type PjrtOptions } from './create-executor.js';
import type { CompileProgress } from './pjrt-executor.js';

const { program, initial, train } = classifier(tensor);

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

function openExecutor(of: Program, options: Partial<PjrtOptions> = {}): Executor {
  const made = createPjrtExecutor(of, {
    precision: 'fp32',
    recompute: 'none',
    pluginPath,
    executables: folder,
    ...options,
  });
  open.push(made);
  return made;
}

async function executor(options: Partial<PjrtOptions> = {}): Promise<Executor> {
  const made = openExecutor(program, options);
  await made.writeState(initial());
  return made;
}

describe('the executor of PJRT', () => {
  test.each(executorConformance({ tensor, hasLateInputs: true }))('$name', ({ run }) => run((of) => openExecutor(of)));
});

describe('a program on a device', () => {
  test('has bf16 products near the fp32 ones, and not the same', async () => {
    const [a, b] = [await train(await executor(), 3), await train(await executor({ precision: 'bf16' }), 3)];
    expect(a).not.toEqual(b);
    for (const [i, loss] of a.entries()) expect(Math.abs((b[i] as number) / loss - 1)).toBeLessThan(0.02);
  });

  test('has snapshots of the moment when they were asked for', async () => {
    const device = await executor();
    await train(device, 1);
    const snapshot = device.readState(['count']);
    const zeros = { g1: new Float32Array(64), g2: new Float32Array(40) };
    await device.run('update', zeros);
    expect((await snapshot).count?.data[0]).toBe(1);
    expect((await device.readState(['count'])).count?.data[0]).toBe(2);
  });

  test('starts again without compiling', async () => {
    const executables = join(folder, 'own');
    const start = async () => {
      const told: CompileProgress[] = [];
      await train(await executor({ executables, onCompile: (progress) => told.push(progress) }), 2);
      const done = told.filter(({ isDone }) => isDone);
      expect(done.map(({ phase }) => phase).toSorted()).toEqual(['gradients', 'update']);
      return done.map(({ compiledParts }) => compiledParts);
    };
    expect(await start()).toEqual([1, 1]);
    expect(await start()).toEqual([0, 0]);
  });

  test('says which inputs an output still waits for', async () => {
    const square = { shape: [4, 4], dtype: 'float32' } as const;
    const call: Program['phases'][string] = {
      inputs: { x: square, answer: square },
      run: ({ input }) => ({ sent: tf.mul(input('x'), 2), y: tf.mul(input('answer'), input('x')) }),
    };
    const device = openExecutor({ name: 'remote call', state: {}, phases: { call } });
    const run = await device.begin('call', { x: new Float32Array(16) });
    await expect(run.advance({}, ['y'])).rejects.toThrow('phase call: output y still waits for the inputs answer');
  });

  test('names program, phase, op and its inputs where the lowering lacks something', async () => {
    const only: Program['phases'][string] = {
      inputs: { x: { shape: [4, 4], dtype: 'float32' } },
      run: ({ input }) => ({ y: tf.einsum('ij->ji', input('x')) }),
    };
    const broken = openExecutor({ name: 'broken', state: {}, phases: { only } });
    await expect(broken.run('only', { x: new Float32Array(16) })).rejects.toThrow(/program broken, phase only/);
    const unwritten = openExecutor(program);
    await expect(unwritten.run('nothing', {})).rejects.toThrow('program classifier has no phase nothing');
  });

  test('may be disposed with runs under way', async () => {
    const device = openExecutor({
      name: 'slow',
      state: {},
      phases: {
        only: {
          inputs: { x: { shape: [64, 64], dtype: 'float32' } },
          run: ({ input }) => ({ y: tf.matMul(input('x'), input('x')) }),
        },
      },
    });
    await device.begin('only', { x: new Float32Array(4096) });
    device.prepare(['only']);
    await device.dispose();
    await device.dispose();
  });
});
