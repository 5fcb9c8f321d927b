import { type Program, tf } from '@weft/tensor';
import { expect, test } from 'vitest';
import { createExecutor, type OpTiming } from '../index.js';

const program: Program = {
  name: 'one product',
  state: {},
  phases: {
    multiply: {
      inputs: { x: { shape: [256, 256], dtype: 'float32' } },
      run: ({ input }) => ({ y: tf.matMul(input('x') as tf.Tensor2D, input('x') as tf.Tensor2D) }),
    },
  },
};

test('a traced executor measures the time of every op of a phase', async () => {
  const traced: { phase: string; ops: readonly OpTiming[] }[] = [];
  const onTrace = (phase: string, ops: readonly OpTiming[]) => void traced.push({ phase, ops });
  const executor = createExecutor(program, { kind: 'graph', precision: 'fp32', threads: 1, onTrace });
  const { y } = await executor.run('multiply', { x: new Float32Array(256 * 256).fill(1) });
  expect(y?.data[0]).toBe(256);
  y?.dispose();
  await executor.dispose();

  expect(traced.map(({ phase }) => phase)).toEqual(['multiply']);
  const product = traced[0]?.ops.find(({ type }) => type.includes('MatMul'));
  expect(product?.name).toContain('multiply/');
  expect(product?.milliseconds).toBeGreaterThan(0);
});
