import * as tensor from '@weft/tensor';
import { type Executor, type Program, tf } from '@weft/tensor';
import { classifier, executorConformance } from '@weft/testing';
import { afterAll, describe, expect, it } from 'vitest';
import { createExecutor, type EngineKind } from './index.js';

const { program, initial, train } = classifier(tensor);

const open: Executor[] = [];
afterAll(async () => {
  for (const one of open) await one.dispose();
});

function openExecutor(of: Program, kind: EngineKind, precision: 'fp32' | 'bf16' = 'fp32'): Executor {
  const made = createExecutor(of, { kind, precision, threads: 1 });
  open.push(made);
  return made;
}

async function executor(kind: EngineKind, precision: 'fp32' | 'bf16' = 'fp32'): Promise<Executor> {
  const made = openExecutor(program, kind, precision);
  await made.writeState(initial());
  return made;
}

describe.each([
  { kind: 'graph', hasLateInputs: true },
  { kind: 'eager', hasLateInputs: false },
] as const)('the $kind executor of TensorFlow', ({ kind, hasLateInputs }) => {
  it.each(executorConformance({ tensor, hasLateInputs }))('$name', ({ run }) => run((of) => openExecutor(of, kind)));
});

describe('the graph', () => {
  it('computes bf16 products near the fp32 ones, and not the same', async () => {
    const exact = await train(await executor('graph'), 3);
    const rounded = await train(await executor('graph', 'bf16'), 3);
    for (const [i, loss] of exact.entries()) expect(Math.abs((rounded[i] ?? 0) / loss - 1)).toBeLessThan(0.02);
    expect(rounded).not.toEqual(exact);
  });

  it('leaves the event loop free while it runs', async () => {
    const graph = await executor('graph');
    let ticks = 0;
    const timer = setInterval(() => ticks++, 0);
    await train(graph, 200);
    clearInterval(timer);
    expect(ticks).toBeGreaterThan(0);
  });

  it('names program and phase where a value is read on the host', async () => {
    const reading: Program = {
      name: 'broken',
      state: {},
      phases: {
        only: {
          inputs: { x: { shape: [2, 3], dtype: 'float32' } },
          run: ({ input }) => ({ y: tf.add(input('x'), input('x').arraySync() as number[][]) }),
        },
      },
    };
    await expect(openExecutor(reading, 'graph').run('only', { x: new Float32Array(6) })).rejects.toThrow(
      /program broken, phase only.*read on the host/,
    );
  });

  it('refuses to use a tensor after it was freed', async () => {
    const graph = await executor('graph');
    const { count } = await graph.readState(['count']);
    count?.dispose();
    count?.dispose();
    expect(() => count?.data).toThrow('used after it was freed');
  });

  it('gives out of a loop over large tensors what a late input is the answer to', async () => {
    const large = { shape: [512, 512], dtype: 'float32' } as const;
    const ask: Program['phases'][string] = {
      inputs: { x: large, answer: large },
      run: ({ input }) => {
        const before = tf.neg(tf.mul(input('x'), 2));
        const sent = tf.matMul(before, tf.eye(512));
        return { sent, y: tf.neg(tf.add(before, input('answer'))) };
      },
    };
    const run = await openExecutor({ name: 'loops', state: {}, phases: { ask } }, 'graph').begin('ask', {
      x: new Float32Array(512 * 512).fill(3),
    });
    const { sent } = await run.advance({}, ['sent']);
    expect(sent?.data[0]).toBe(-6);
    if (sent === undefined) return;
    expect((await run.advance({ answer: sent }, ['y'])).y?.data[0]).toBe(12);
  });
});
