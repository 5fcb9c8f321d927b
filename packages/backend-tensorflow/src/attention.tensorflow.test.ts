import { Random } from '@weft/common';
import { attention, type Precision, type Program, readablePositions, recordPhase, tf } from '@weft/tensor';
import { expect, test } from 'vitest';
import { createExecutor, type EngineKind, tensorflowShapes } from './create-executor.js';

// Legend: B batch, T positions, H query heads, J key-value heads, C width of one head.
const [B, T, H, J, C] = [2, 12, 4, 2, 8];

/** Attention with the gradients of its inputs. */
function programOf(causal: boolean, hasSegments: boolean): Program {
  const spec = (...shape: number[]) => ({ shape, dtype: 'float32' }) as const;
  return {
    name: 'attention',
    state: {},
    phases: {
      read: {
        inputs: {
          q: spec(B, T, H, C),
          k: spec(B, T, J, C),
          v: spec(B, T, J, C),
          weights: spec(B, T, H, C),
          segmentIds: { shape: [B, T], dtype: 'int32' },
        },
        run: ({ input }) => {
          const readable = readablePositions(causal, hasSegments ? input('segmentIds') : undefined);
          const loss = (...[q, k, v]: tf.Tensor[]) =>
            tf.sum(tf.mul(attention(q!, k!, v!, readable), input('weights'))) as tf.Scalar;
          const inputs = [input('q'), input('k'), input('v')];
          const { value, grads } = tf.valueAndGrads(loss)(inputs);
          const [q, k, v] = inputs as [tf.Tensor, tf.Tensor, tf.Tensor];
          return { loss: value, read: attention(q, k, v, readable), dq: grads[0]!, dk: grads[1]!, dv: grads[2]! };
        },
      },
    },
  };
}

async function run(program: Program, kind: EngineKind, precision: Precision): Promise<Record<string, number[]>> {
  const executor = createExecutor(program, { kind, precision, threads: 1 });
  const random = Random.of('attention');
  const normal = (heads: number) => Float32Array.from({ length: B * T * heads * C }, () => random.normal());
  const segmentIds = Int32Array.from({ length: B * T }, (_, i) => [1, 1, 1, 2, 2, 2, 2, 2, 3, 3, 0, 0][i % T]!);
  const inputs = { q: normal(H), k: normal(J), v: normal(J), weights: normal(H), segmentIds };
  const outputs = await executor.run('read', inputs);
  const copies = Object.fromEntries(Object.entries(outputs).map(([name, { data }]) => [name, [...data]]));
  for (const output of Object.values(outputs)) output.dispose();
  await executor.dispose();
  return copies;
}

const distance = (x: Record<string, number[]>, y: Record<string, number[]>) =>
  Math.max(...Object.keys(x).flatMap((name) => x[name]!.map((value, i) => Math.abs(value - y[name]![i]!))));

test.each([
  [true, true],
  [true, false],
  [false, true],
  [false, false],
])('recorded, eager and pure JavaScript agree: causal %s, segments %s', async (causal, hasSegments) => {
  const program = programOf(causal, hasSegments);
  const expected = await run(program, 'javascript', 'fp32');
  for (const kind of ['graph', 'eager'] as const) {
    expect(distance(await run(program, kind, 'fp32'), expected), kind).toBeLessThan(1e-4);
  }
  const apart = distance(await run(program, 'graph', 'bf16'), expected);
  expect(apart).toBeGreaterThan(1e-4);
  expect(apart).toBeLessThan(0.5);
});

test('attention is one op of a recording, and its gradient another', () => {
  const shapes = tensorflowShapes();
  const { ops, values } = recordPhase(shapes, programOf(true, true), 'read');
  shapes.dispose();
  expect(ops.map(({ type }) => type).filter((type) => type.startsWith('Attention'))).toEqual([
    'Attention',
    'AttentionGrad',
    'Attention',
  ]);
  const shapesOf = (type: string) =>
    ops.find((op) => op.type === type)?.outputs.map((value) => values.get(value)?.shape);
  expect(shapesOf('Attention')).toEqual([
    [B, T, H, C],
    [B, H, T],
  ]);
  expect(shapesOf('AttentionGrad')).toEqual([
    [B, T, H, C],
    [B, T, J, C],
    [B, T, J, C],
  ]);
});
