import { type Executor, type Program, sparseSoftmaxCrossEntropy, tf } from '@weft/tensor';
import { afterAll, describe, expect, it } from 'vitest';
import { createExecutor, type EngineKind } from './index.js';

// Legend: B rows, D width, V classes.
const [B, D, V] = [6, 8, 5];

/** A two-layer classifier with a gradient phase and an update phase: small, and it meets every part of the engine. */
const classifier: Program = {
  name: 'classifier',
  state: {
    w1_DD: { shape: [D, D], dtype: 'float32' },
    w2_DV: { shape: [D, V], dtype: 'float32' },
    count: { shape: [], dtype: 'float32' },
  },
  phases: {
    gradients: {
      inputs: {
        rows: { shape: [B], dtype: 'int32' },
        table: { shape: [10, D], dtype: 'float32' },
        labels: { shape: [B], dtype: 'int32' },
      },
      run: ({ input, read }) => {
        const lossOf = (w1: tf.Tensor, w2: tf.Tensor) => {
          const x_BD = tf.gather(input('table'), input('rows')) as tf.Tensor2D;
          const hidden_BD = tf.tanh(tf.matMul(x_BD, w1 as tf.Tensor2D));
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

const wave = (n: number, phase: number) => Float32Array.from({ length: n }, (_, i) => Math.sin(i * 1.7 + phase));
const inputs = {
  rows: Int32Array.from([0, 3, 3, 9, 1, 7]),
  table: wave(10 * D, 0.3),
  labels: Int32Array.from([0, 1, 2, 3, 4, 0]),
};
const initial = { w1_DD: wave(D * D, 1), w2_DV: wave(D * V, 2), count: Float32Array.of(0) };

const open: Executor[] = [];
async function executor(kind: EngineKind, precision: 'fp32' | 'bf16' = 'fp32'): Promise<Executor> {
  const made = createExecutor(classifier, { kind, precision, threads: 1 });
  open.push(made);
  await made.writeState(initial);
  return made;
}
afterAll(async () => {
  for (const one of open) await one.dispose();
});

async function train(engine: Executor, steps: number): Promise<number[]> {
  const losses: number[] = [];
  for (let step = 0; step < steps; step++) {
    const { loss, w1_DD, w2_DV } = await engine.run('gradients', inputs);
    losses.push(loss?.data[0] as number);
    if (w1_DD === undefined || w2_DV === undefined) throw new Error('a gradient is missing');
    const { before } = await engine.run('update', { g1: w1_DD, g2: w2_DV });
    expect(before?.data[0]).toBe(step);
    for (const tensor of [loss, w1_DD, w2_DV, before]) tensor?.dispose();
  }
  return losses;
}

function expectClose(values: readonly number[], expected: readonly number[], relative: number): void {
  for (const [i, value] of values.entries()) expect(Math.abs(value / (expected[i] ?? 0) - 1)).toBeLessThan(relative);
}

describe('one program on every engine', () => {
  it('learns the same on the compiled graph, eagerly on TensorFlow, and in pure JavaScript', async () => {
    const expected = await train(await executor('javascript'), 10);
    expect(expected.at(-1)).toBeLessThan(0.7 * (expected[0] as number));
    for (const kind of ['graph', 'eager'] as const) {
      const losses = await train(await executor(kind), 10);
      expectClose(losses, expected, 1e-5);
    }
  });

  it('computes bf16 products near the fp32 ones, and not the same', async () => {
    const exact = await train(await executor('graph'), 3);
    const rounded = await train(await executor('graph', 'bf16'), 3);
    expectClose(rounded, exact, 0.02);
    expect(rounded).not.toEqual(exact);
  });

  it('keeps the state between phases and gives it back by name', async () => {
    const graph = await executor('graph');
    await train(graph, 3);
    const { count } = await graph.readState(['count']);
    expect(count?.data[0]).toBe(3);
    count?.dispose();
  });

  it('gives snapshots that later steps leave alone', async () => {
    const graph = await executor('graph');
    const { w1_DD } = await graph.readState(['w1_DD']);
    const before = w1_DD?.data.slice();
    await train(graph, 2);
    expect(w1_DD?.data).toEqual(before);
    w1_DD?.dispose();
  });

  it('leaves the event loop free while the graph runs', async () => {
    const graph = await executor('graph');
    let ticks = 0;
    const timer = setInterval(() => ticks++, 0);
    await train(graph, 200);
    clearInterval(timer);
    expect(ticks).toBeGreaterThan(0);
  });
});

describe('what goes wrong is said', () => {
  it('names a missing, an unknown and a misfit input', async () => {
    const graph = await executor('graph');
    const { labels, ...rest } = inputs;
    await expect(graph.run('gradients', rest)).rejects.toThrow('phase gradients: input labels is missing');
    await expect(graph.run('gradients', { ...inputs, extra: labels })).rejects.toThrow('there is no input extra');
    await expect(graph.run('gradients', { ...inputs, labels: new Int32Array(2) })).rejects.toThrow(
      'input labels is int32[6] but got int32 with 2 elements',
    );
  });

  it('names program, phase and op when shapes do not fit or a value is read on the host', async () => {
    const broken = (run: (x: tf.Tensor) => tf.Tensor): Program => ({
      name: 'broken',
      state: {},
      phases: {
        only: { inputs: { x: { shape: [2, 3], dtype: 'float32' } }, run: ({ input }) => ({ y: run(input('x')) }) },
      },
    });
    const message = async (program: Program) => {
      const graph = createExecutor(program, { kind: 'graph', precision: 'fp32', threads: 1 });
      open.push(graph);
      return graph.run('only', { x: new Float32Array(6) }).then(
        () => 'it ran',
        (error: Error) => error.message,
      );
    };
    expect(await message(broken((x) => tf.add(x, x.arraySync() as number[][])))).toMatch(
      /program broken, phase only.*read on the host/,
    );
    expect(await message(broken((x) => tf.reshape(tf.squaredDifference(x, tf.zeros([4, 4])), [6])))).toMatch(
      /program broken, phase only/,
    );
  });

  it('names a state that was never written', async () => {
    const graph = createExecutor(classifier, { kind: 'graph', precision: 'fp32', threads: 1 });
    open.push(graph);
    await expect(graph.readState(['w1_DD'])).rejects.toThrow(/w1_DD/);
  });

  it('refuses to use a tensor after it was freed', async () => {
    const graph = await executor('graph');
    const { count } = await graph.readState(['count']);
    count?.dispose();
    count?.dispose();
    expect(() => count?.data).toThrow('used after it was freed');
  });
});
