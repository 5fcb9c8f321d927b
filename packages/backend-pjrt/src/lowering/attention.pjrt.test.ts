import { Random } from '@weft/common';
import { attention, javascriptExecutor, type Program, readablePositions, tf, type ValueInfo } from '@weft/tensor';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Client } from '../native/client.js';
import { cpuClient } from '../testing/cpu-client.js';
import { record, runLowered } from '../testing/run-lowered.js';
import { blockwiseAttention, blockwiseAttentionGradient } from './attention-blockwise.js';
import { Builder } from './builder.js';
import type { LoweredOp } from './lowering.js';
import { rewriteForXla } from './module.js';
import { typeOf, type Value } from './value.js';

let client: Client;
beforeAll(async () => {
  client = await cpuClient();
});
afterAll(() => client.close());

/** B batch, T positions, J key-value heads, G queries per key, C width of one head. */
interface Shape {
  readonly B: number;
  readonly T: number;
  readonly J: number;
  readonly G: number;
  readonly C: number;
  readonly causal: boolean;
  readonly hasSegments: boolean;
}

/** Attention and the gradients of its inputs under random weights of the output. */
function programOf({ B, T, J, G, C, causal, hasSegments }: Shape): Program {
  const spec = (heads: number) => ({ shape: [B, T, heads, C], dtype: 'float32' }) as const;
  const inputs = { q: spec(J * G), k: spec(J), v: spec(J), weights: spec(J * G) };
  const segmentIds = { shape: [B, T], dtype: 'int32' } as const;
  return {
    name: 'attention',
    state: {},
    phases: {
      run: {
        inputs: hasSegments ? { ...inputs, segmentIds } : inputs,
        run: ({ input }) => {
          const readable = readablePositions(causal, hasSegments ? input('segmentIds') : undefined);
          const qkv = [input('q'), input('k'), input('v')] as const;
          const read = attention(...qkv, readable);
          const loss = (...[q, k, v]: tf.Tensor[]) =>
            tf.sum(tf.mul(attention(q!, k!, v!, readable), input('weights'))) as tf.Scalar;
          const [dq, dk, dv] = tf.grads(loss)([...qkv]);
          return { read, dq: dq!, dk: dk!, dv: dv! };
        },
      },
    },
  };
}

function inputsOf({ B, T, J, G, C, hasSegments }: Shape, seed: number) {
  const random = Random.of('attention', `${seed}`);
  const normal = (heads: number) => Float32Array.from({ length: B * T * heads * C }, () => random.normal());
  const inputs = { q: normal(J * G), k: normal(J), v: normal(J), weights: normal(J * G) };
  // Segments of random lengths; the last positions are padding, of segment 0.
  const segmentIds = Int32Array.from({ length: B * T });
  for (let b = 0; b < B; b++) {
    let segment = 1;
    for (let t = 0; t < T; t++) {
      if (random.uniform() < 0.3) segment++;
      segmentIds[b * T + t] = t > 0 && t > T - 2 ? 0 : segment;
    }
  }
  return hasSegments ? { ...inputs, segmentIds } : inputs;
}

function expectClose(actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number, label: string): void {
  const wanted = Array.from(expected);
  const largest = Math.max(1, ...wanted.map(Math.abs));
  const apart = Math.max(...wanted.map((x, i) => Math.abs(x - (actual[i] ?? Number.NaN))));
  expect(apart, label).toBeLessThanOrEqual(tolerance * largest);
}

/** The two lowerings by themselves, with blocks as small as wanted. */
async function runBlockwise(shape: Shape, largestBlock: number, data: ReturnType<typeof inputsOf>) {
  const { B, T, J, G, C } = shape;
  const op: LoweredOp = {
    attrs: { causal: { kind: 'bool', value: shape.causal }, scale: { kind: 'float', value: 1 / Math.sqrt(C) } },
    after: [],
  };
  const builder = new Builder();
  const named = (index: number, info: ValueInfo): Value => ({ name: `%arg${index}`, ...info });
  const heads = (index: number, count: number) => named(index, { shape: [B, T, count, C], dtype: 'float32' });
  const [q, k, v, weights] = [heads(0, J * G), heads(1, J), heads(2, J), heads(3, J * G)] as const;
  const ids = shape.hasSegments ? [named(4, { shape: [B, T], dtype: 'int32' })] : [];
  const segments = ids.map((value) => builder.convert(value, 'float32'));
  const [read, logSumExp] = blockwiseAttention(builder, [q, k, v, ...segments], op, largestBlock) as [Value, Value];
  const again = [q, k, v, read, logSumExp, weights, ...segments];
  const results = [read, ...blockwiseAttentionGradient(builder, again, op, largestBlock)];
  const list = (values: readonly Value[], each: (value: Value) => string) => values.map(each).join(', ');
  const text = [
    'module @attention {',
    `func.func public @main(${list([q, k, v, weights, ...ids], (value) => `${value.name}: ${typeOf(value)}`)}) -> (${list(results, typeOf)}) {`,
    ...builder.lines,
    `return ${list(results, ({ name }) => name)} : ${list(results, typeOf)}`,
    '}}',
  ].join('\n');
  const executable = await client.compile(text);
  const inputs = [data.q, data.k, data.v, data.weights, ...('segmentIds' in data ? [data.segmentIds] : [])];
  const buffers = await Promise.all(
    inputs.map((array, i) => {
      const { shape: sizes, dtype } = [q, k, v, weights, ...ids][i] as Value;
      return client.upload(array, sizes, dtype === 'float32' ? 'float32' : 'int32');
    }),
  );
  const { outputs, done } = await executable.execute(buffers);
  await done;
  const read_ = await Promise.all(
    outputs.map((output) => output.readInto(new Float32Array(output.shape.reduce((a, b) => a * b, 1)))),
  );
  for (const handle of [executable, ...buffers, ...outputs]) handle.free();
  return read_;
}

async function expected(shape: Shape, data: ReturnType<typeof inputsOf>) {
  const executor = javascriptExecutor(programOf(shape));
  const outputs = await executor.run('run', data);
  await executor.dispose();
  return outputs;
}

const small = fc.record({
  B: fc.integer({ min: 1, max: 2 }),
  T: fc.integer({ min: 1, max: 13 }),
  J: fc.integer({ min: 1, max: 2 }),
  G: fc.integer({ min: 1, max: 3 }),
  C: fc.integer({ min: 1, max: 8 }),
  causal: fc.boolean(),
  hasSegments: fc.boolean(),
});

describe('attention block by block is plain attention, gradients included', () => {
  test('whatever the shape, the blocks, the segments, causal or not', async () => {
    const cases = fc.tuple(small, fc.integer({ min: 1, max: 6 }), fc.nat(1000));
    await fc.assert(
      fc.asyncProperty(cases, async ([shape, largestBlock, seed]) => {
        const data = inputsOf(shape, seed);
        const results = await runBlockwise(shape, largestBlock, data);
        for (const [i, [name, { data: wanted }]] of Object.entries(await expected(shape, data)).entries()) {
          expectClose(results[i]!, wanted, 2e-6, `${name} of ${JSON.stringify(shape)} in blocks of ${largestBlock}`);
        }
      }),
      { numRuns: 12, seed: 7 },
    );
  }, 60_000);

  test('recorded and lowered, in fp32 and within bf16’s noise', async () => {
    const shape = { B: 2, T: 24, J: 2, G: 2, C: 8, causal: true, hasSegments: true };
    const data = inputsOf(shape, 1);
    const wanted = Object.values(await expected(shape, data));
    for (const [precision, tolerance] of [
      ['fp32', 2e-6],
      ['bf16', 2e-2],
    ] as const) {
      const recording = rewriteForXla(record(programOf(shape), 'run'), { precision, recompute: 'none' });
      expect(recording.ops.filter(({ type }) => type.startsWith('Attention'))).toHaveLength(2);
      const results = await runLowered(client, recording, data);
      for (const [i, { data: numbers }] of wanted.entries())
        expectClose(results[i]!, numbers, tolerance, `${precision} ${i}`);
    }
  });
});
