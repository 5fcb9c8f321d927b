import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Random } from '@weft/common';
import { attention, type HostArray, javascriptExecutor, type Program, readablePositions, tf } from '@weft/tensor';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createPjrtExecutor } from '../executor/create-executor.js';
import { deviceCount, SINGLE } from '../mesh/mesh.js';
import type { Client } from '../native/client.js';
import { installPlugin } from '../setup/plugin.js';
import { cpuClient } from '../testing/cpu-client.js';
import { record, runLowered, runText } from '../testing/run-lowered.js';
import { ATTENTION } from './attention.js';
import { blockwiseAttention, blockwiseAttentionGradient } from './attention-blockwise.js';
import { packingOf } from './attention-fused.js';
import { Builder } from './builder.js';
import type { LoweredOp } from './lowering.js';
import { rewriteForXla } from './module.js';
import { typeOf, type Value } from './value.js';

let client: Client;
let executables: string;
beforeAll(async () => {
  client = await cpuClient();
  executables = mkdtempSync(join(tmpdir(), 'weft-executables-'));
});
afterAll(async () => {
  await client.close();
  rmSync(executables, { recursive: true });
});

const CAUSAL: LoweredOp = {
  attrs: { causal: { kind: 'bool', value: true }, scale: { kind: 'float', value: 0.5 } },
  after: [],
};

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
  const axes = ['batch', null, 'heads', null] as const;
  const spec = (heads: number) => ({ shape: [B, T, heads, C], dtype: 'float32', axes }) as const;
  const inputs = { q: spec(J * G), k: spec(J), v: spec(J), weights: spec(J * G) };
  const segmentIds = { shape: [B, T], dtype: 'int32', axes: ['batch', null] } as const;
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

/** Runs what is written over the given inputs. */
async function runBuilt(
  inputs: readonly { readonly data: HostArray; readonly shape: readonly number[] }[],
  write: (builder: Builder, values: readonly Value[]) => readonly Value[],
): Promise<HostArray[]> {
  const builder = new Builder();
  const values = inputs.map(({ data, shape }, i): Value => {
    return { name: `%arg${i}`, shape, dtype: data instanceof Float32Array ? 'float32' : 'int32' };
  });
  const results = write(builder, values);
  const list = (listed: readonly Value[], each: (value: Value) => string) => listed.map(each).join(', ');
  const text = [
    'module @attention {',
    `func.func public @main(${list(values, (value) => `${value.name}: ${typeOf(value)}`)}) -> (${list(results, typeOf)}) {`,
    ...builder.lines,
    `return ${list(results, ({ name }) => name)} : ${list(results, typeOf)}`,
    '}}',
  ].join('\n');
  return runText(client, text, inputs);
}

/** The two lowerings by themselves, with blocks as small as wanted. */
function runBlockwise(shape: Shape, largestBlock: number, data: ReturnType<typeof inputsOf>) {
  const { B, T, J, G, C, causal } = shape;
  const op: LoweredOp = {
    attrs: { causal: { kind: 'bool', value: causal }, scale: { kind: 'float', value: 1 / Math.sqrt(C) } },
    after: [],
  };
  const heads = (array: HostArray, count: number) => ({ data: array, shape: [B, T, count, C] });
  const inputs = [heads(data.q, J * G), heads(data.k, J), heads(data.v, J), heads(data.weights, J * G)];
  const segmentIds = 'segmentIds' in data ? [{ data: data.segmentIds, shape: [B, T] }] : [];
  return runBuilt([...inputs, ...segmentIds], (builder, [q, k, v, weights, ...ids]) => {
    const qkv = [q, k, v] as Value[];
    const segments = ids.map((value) => builder.convert(value, 'float32'));
    const read = blockwiseAttention(builder, [...qkv, ...segments], op, largestBlock);
    const again = [...qkv, ...read, weights as Value, ...segments];
    return [read[0] as Value, ...blockwiseAttentionGradient(builder, again, op, largestBlock)];
  });
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
    const shape = { B: 1, T: 130, J: 2, G: 2, C: 8, causal: true, hasSegments: true };
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

describe('attention on a mesh, where every device computes its own sequences and heads', () => {
  const long = { B: 4, T: 130, J: 2, G: 2, C: 8, causal: true, hasSegments: true };

  test.each([
    ['fsdp 2', { ...SINGLE, fsdp: 2 }, long],
    ['fsdp 2 × tensor 2', { ...SINGLE, fsdp: 2, tensor: 2 }, long],
    ['expert 2 × fsdp 2, without segments', { ...SINGLE, expert: 2, fsdp: 2 }, { ...long, hasSegments: false }],
    ['tensor 2 and one head of keys, which it does not divide', { ...SINGLE, tensor: 2 }, { ...long, J: 1, G: 4 }],
    ['fsdp 2 and one sequence, which it does not divide', { ...SINGLE, fsdp: 2 }, { ...long, B: 1 }],
  ])('is that of one device, gradients included: %s', async (_, mesh, shape) => {
    const data = inputsOf(shape, 3);
    const executor = createPjrtExecutor(programOf(shape), {
      precision: 'fp32',
      recompute: 'none',
      pluginPath: (await installPlugin({ platform: 'cpu' })).path,
      executables,
      mesh,
      clientOptions: { cpu_device_count: deviceCount(mesh) },
    });
    const results = await executor.run('run', data);
    for (const [name, { data: wanted }] of Object.entries(await expected(shape, data)))
      expectClose(results[name]?.data ?? [], wanted, 2e-6, name);
    await executor.dispose();
  });

  test('in cuDNN’s kernel takes a device’s shares of sequences, heads and segments', () => {
    const builder = new Builder({ attention: 'fused', mesh: { ...SINGLE, fsdp: 2, tensor: 4 } });
    const heads = (count: number): Value => ({ name: `%h${count}`, shape: [8, 128, count, 16], dtype: 'bfloat16' });
    const segments: Value = { name: '%segments', shape: [8, 128], dtype: 'float32' };
    const [read, logSumExp] = ATTENTION.Attention(
      builder,
      [heads(24), heads(8), heads(8), segments],
      CAUSAL,
    ) as Value[];
    expect([read?.shape, logSumExp?.shape]).toEqual([
      [8, 128, 24, 16],
      [8, 24, 128],
    ]);
    const [begin] = builder.lines;
    expect(begin).toContain('manual_axes={"fsdp", "tensor"} (%0: tensor<4x128x6x16xbf16>');
    expect(begin).toContain(
      'out_shardings=[<@mesh, [{"fsdp"}, {}, {"tensor"}, {}]>, <@mesh, [{"fsdp"}, {"tensor"}, {}]>]',
    );
    const call = builder.lines.find((line) => line.includes('__cudnn$fmhaSoftmax'));
    expect(call).toMatch(/tensor<4x128x6x16xbf16>, tensor<4x128x2x16xbf16>/);
  });
});

describe('the segments of a batch as cuDNN’s kernel is told of them', () => {
  const [H, J, C] = [4, 2, 8];

  /** Lengths and beginnings; log-sum-exps there and back; whether there are few enough segments. */
  async function packed(segments: readonly (readonly number[])[]) {
    const [B, T] = [segments.length, segments[0]!.length];
    const statistics = Float32Array.from({ length: B * H * T }, (_, i) => i);
    const inputs = [
      { data: Float32Array.from(segments.flat()), shape: [B, T] },
      { data: statistics, shape: [B, H, T] },
    ];
    const results = await runBuilt(inputs, (builder, [segments_BT, statistics_BHT]) => {
      const heads = (count: number): Value => ({ name: '', shape: [B, T, count, C], dtype: 'bfloat16' });
      const packing = packingOf(builder, segments_BT as Value, heads(H), heads(J));
      const [lengths, , queries, keys] = packing.operands as [Value, Value, Value, Value];
      const back = packing.unpack(packing.pack(statistics_BHT as Value));
      const fits = packing.fits === undefined ? [] : [builder.convert(packing.fits, 'int32')];
      return [lengths, queries, keys, back, ...fits];
    });
    const [lengths, queries, keys, back, fits] = results.map((each) => [...each]);
    return { lengths, queries, keys, isSame: back!.join() === statistics.join(), fits: fits?.[0] };
  }

  test('as lengths and first elements, sequence after sequence, and nothing behind the last', async () => {
    const told = await packed([
      [1, 1, 2, 0],
      [1, 1, 1, 1],
    ]);
    expect(told.lengths).toEqual([2, 1, 1, 4, 0, 0, 0, 0]);
    const positions = [0, 2, 3, 4, 8, 8, 8, 8, 8, 8];
    expect(told.queries).toEqual(positions.map((position) => position * H * C));
    expect(told.keys).toEqual(positions.map((position) => position * J * C));
    expect(told.isSame).toBe(true);
    expect(told.fits).toBeUndefined();
  });

  test('unless there are more than 64 a sequence', async () => {
    const sequence = (segments: number) => Array.from({ length: 100 }, (_, t) => 1 + Math.floor((t * segments) / 100));
    const [few, many] = [await packed([sequence(80), sequence(48)]), await packed([sequence(80), sequence(49)])];
    expect([few.fits, few.isSame]).toEqual([1, true]);
    expect(many.fits).toBe(0);
  });

  test('which the program finds out by itself', () => {
    const builder = new Builder({ attention: 'fused' });
    const heads = (count: number): Value => ({ name: `%h${count}`, shape: [1, 128, count, C], dtype: 'bfloat16' });
    const segments: Value = { name: '%segments', shape: [1, 128], dtype: 'float32' };
    const [read, logSumExp] = ATTENTION.Attention(builder, [heads(H), heads(J), heads(J), segments], CAUSAL) as Value[];
    expect([read?.shape, logSumExp?.shape]).toEqual([
      [1, 128, H, C],
      [1, H, 128],
    ]);
    const text = builder.lines.join('\n');
    expect(text).toMatch(/__cudnn\$fmhaSoftmax.*max_seg_per_batch\\22:64/);
    expect(text.match(/stablehlo\.(if|while)/g)).toEqual(['stablehlo.if', 'stablehlo.while', 'stablehlo.while']);
  });
});
