import { type Program, sparseSoftmaxCrossEntropy, tf } from '@weft/tensor';
import { expect, it } from 'vitest';
import { createExecutor, type EngineKind } from './index.js';

// Legend: N rows, V classes.
const [N, V] = [4, 9];

const program: Program = {
  name: 'crossEntropy',
  state: {},
  phases: {
    only: {
      inputs: {
        logits_NV: { shape: [N, V], dtype: 'float32' },
        labels_N: { shape: [N], dtype: 'int32' },
        weights_N: { shape: [N], dtype: 'float32' },
      },
      run: ({ input }) => {
        const labels_N = input('labels_N') as tf.Tensor1D;
        const weighted = (x: tf.Tensor) =>
          tf.sum<tf.Scalar>(tf.mul(sparseSoftmaxCrossEntropy(x as tf.Tensor2D, labels_N), input('weights_N')));
        const { value, grad } = tf.valueAndGrad(weighted)(input('logits_NV'));
        return { value, grad };
      },
    },
  },
};

/** Scores up to ±90, so that the probability of some labels is smaller than any float32. */
const logits_NV = Float32Array.from({ length: N * V }, (_, i) => 90 * Math.sin(i * i + 0.4));
const labels_N = Int32Array.from([0, 8, 3, 1]);
const weights_N = Float32Array.from([1, 0, 0.5, 2]);

/** In float64, from the definition. */
function expected(): { value: number; gradient: number[] } {
  let value = 0;
  const gradient: number[] = [];
  for (let n = 0; n < N; n++) {
    const scores = [...logits_NV.subarray(n * V, (n + 1) * V)];
    const [label, weight] = [labels_N[n] as number, weights_N[n] as number];
    const total = Math.log(scores.reduce((sum, score) => sum + Math.exp(score), 0));
    value += weight * (total - (scores[label] as number));
    gradient.push(...scores.map((score, v) => weight * (Math.exp(score - total) - (v === label ? 1 : 0))));
  }
  return { value, gradient };
}

for (const kind of ['graph', 'eager', 'javascript'] as const satisfies readonly EngineKind[]) {
  it(`loss and gradient are exact on the engine "${kind}", also where the label's probability underflows`, async () => {
    const executor = createExecutor(program, { kind, precision: 'fp32', threads: 1 });
    const { value, grad } = await executor.run('only', { logits_NV, labels_N, weights_N });
    const { value: loss, gradient } = expected();
    expect(loss).toBeGreaterThan(100);
    expect(Math.abs((value?.data[0] ?? 0) / loss - 1)).toBeLessThan(1e-6);
    for (const [i, exact] of gradient.entries()) expect(Math.abs((grad?.data[i] ?? 9) - exact)).toBeLessThan(1e-6);
    value?.dispose();
    grad?.dispose();
    await executor.dispose();
  });
}
