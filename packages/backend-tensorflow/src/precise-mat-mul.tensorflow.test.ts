import { Random } from '@weft/common';
import { type Precision, type Program, preciseMatMul, type TensorSpec, tf } from '@weft/tensor';
import { expect, test } from 'vitest';
import { createExecutor, type EngineKind } from './create-executor.js';

const a: TensorSpec = { shape: [5, 16], dtype: 'float32' };
const b: TensorSpec = { shape: [16, 3], dtype: 'float32' };

const programOf = (product: (a: tf.Tensor, b: tf.Tensor) => tf.Tensor): Program => ({
  name: 'products',
  state: {},
  phases: {
    multiply: {
      inputs: { a, b },
      run: ({ input }) => {
        const loss = (...[left, right]: tf.Tensor[]) => tf.sum(tf.square(product(left!, right!))) as tf.Scalar;
        const { grads } = tf.valueAndGrads(loss)([input('a'), input('b')]);
        return { y: product(input('a'), input('b')), da: grads[0]!, db: grads[1]! };
      },
    },
  },
});

const precise = programOf(preciseMatMul);
const ordinary = programOf((left, right) => tf.matMul(left as tf.Tensor2D, right as tf.Tensor2D));

async function run(program: Program, kind: EngineKind, precision: Precision): Promise<Record<string, number[]>> {
  const executor = createExecutor(program, { kind, precision, threads: 1 });
  const random = Random.of('products');
  const values = (count: number) => Float32Array.from({ length: count }, () => random.normal());
  const outputs = await executor.run('multiply', { a: values(80), b: values(48) });
  const copies = Object.fromEntries(Object.entries(outputs).map(([name, { data }]) => [name, [...data]]));
  for (const output of Object.values(outputs)) output.dispose();
  await executor.dispose();
  return copies;
}

const distance = (x: Record<string, number[]>, y: Record<string, number[]>) =>
  Math.max(...Object.keys(x).flatMap((name) => x[name]!.map((value, i) => Math.abs(value - y[name]![i]!))));

test('a precise product is the same in a bf16 program as in an fp32 one, forwards and backwards', async () => {
  const expected = await run(precise, 'graph', 'fp32');
  expect(await run(precise, 'graph', 'bf16')).toEqual(expected);
  expect(distance(await run(ordinary, 'graph', 'bf16'), expected)).toBeGreaterThan(1e-2);
});

test('recorded, eager and pure JavaScript agree with an ordinary product', async () => {
  const expected = await run(ordinary, 'javascript', 'fp32');
  for (const kind of ['graph', 'eager', 'javascript'] as const) {
    expect(distance(await run(precise, kind, 'fp32'), expected), kind).toBeLessThan(1e-4);
  }
});
