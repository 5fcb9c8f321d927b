import {
  BLOCK_GRADIENT,
  elementCount,
  LOOP,
  type Pass,
  passes,
  type Recording,
  recomputable,
  recordPhase,
  rewrite,
  tf,
} from '@weft/tensor';
import { expect, it } from 'vitest';
import { compilePhase } from './graph/compile-phase.js';
import { GraphShapeInference } from './graph/graph-shape-inference.js';
import { GraphWriter } from './graph/graph-writer.js';
import { LoopFunctions } from './graph/loop-functions.js';
import { type CApi, loadCApi } from './native/c-api.js';
import { Graph, NativeTensor } from './native/handles.js';
import { Session } from './native/session.js';
import { nativeLibraryDirectory } from './native-library.js';

const { bf16Matmuls, bf16Softmax, sumToMatmul, dropDeadOps, dropNoOpCasts, fuseElementwise, mergeEqualOps, sinkCasts } =
  passes;
const { recompute, scheduleOutputsEarly, fuseSigmoidMul, sumsOfSquares, concatToRoll, vectorProducts } = passes;

type Inputs = Readonly<Record<string, readonly number[]>>;
type Run = (input: (name: string) => tf.Tensor) => Readonly<Record<string, tf.Tensor>>;

function record(api: CApi, shapes: Inputs, run: Run): Recording {
  const inputs = Object.fromEntries(
    Object.entries(shapes).map(([name, shape]) => [name, { shape, dtype: 'float32' } as const]),
  );
  const inference = new GraphShapeInference(api);
  try {
    return recordPhase(
      inference,
      { name: 'p', state: {}, phases: { only: { inputs, run: ({ input }) => run(input) } } },
      'only',
    );
  } finally {
    inference.dispose();
  }
}

/** Runs a recording as it is; the inputs are waves. */
async function results(api: CApi, recording: Recording): Promise<Record<string, Float32Array>> {
  const graph = new Graph(api);
  const writer = new GraphWriter(api, graph);
  const session = new Session(api, graph, { intraOpThreads: 1, interOpThreads: 1 });
  const phase = compilePhase(writer, recording, new Map(), new LoopFunctions(api, graph));
  const feeds = [...phase.inputs].map(([name, output], which) => {
    const { shape } = recording.values.get(recording.inputs[name] as number) ?? { shape: [] };
    const tensor = NativeTensor.allocate(api, 'float32', shape);
    tensor.data.set(Float32Array.from({ length: elementCount(shape) }, (_, i) => 4 * Math.sin(i * 1.7 + which)));
    return { output, tensor };
  });
  const fetched = await session.run(feeds, phase.outputs, [], 'a test');
  const values = fetched.map(({ data }) => Float32Array.from(data));
  for (const tensor of [...fetched, ...feeds.map(({ tensor }) => tensor)]) tensor.dispose();
  session.dispose();
  writer.dispose();
  graph.dispose();
  return Object.fromEntries(phase.outputNames.map((name, i) => [name, values[i] as Float32Array]));
}

const FLOAT32_SUMS = 2e-6;
/** Half of the last of bfloat16's 8 bits, in every operand and result of a few products. */
const BFLOAT16 = 2e-2;

/** The pass finds what it looks for, and the results agree to the rounding of float32 sums. */
async function expectEqual(pass: Pass, shapes: Inputs, run: Run, gone: string): Promise<void> {
  const api = loadCApi(nativeLibraryDirectory());
  const before = record(api, shapes, run);
  const after = dropDeadOps(pass(before));
  expect(before.ops.map(({ type }) => type)).toContain(gone);
  expect(after.ops.map(({ type }) => type)).not.toContain(gone);
  await expectSameResults(api, before, after, FLOAT32_SUMS);
}

/** @param tolerance as a part of the largest number of an output */
async function expectSameResults(api: CApi, before: Recording, after: Recording, tolerance: number): Promise<void> {
  const [expected, rewritten] = [await results(api, before), await results(api, after)];
  for (const [name, values] of Object.entries(expected)) {
    expect(rewritten[name]).toHaveLength(values.length);
    const scale = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    const isApart = (value: number, i: number) =>
      !(Math.abs((rewritten[name]?.[i] ?? Number.NaN) - value) <= tolerance * scale);
    const at = values.findIndex(isApart);
    expect(at, `${name}[${at}] is ${rewritten[name]?.[at]} instead of ${values[at]}`).toBe(-1);
  }
}

/** Two blocks of masked attention over x, their loss, and the gradients of x and of a weight. */
function attentionAndGradients(input: (name: string) => tf.Tensor): Record<string, tf.Tensor> {
  const block = (x: tf.Tensor, w: tf.Tensor) =>
    recomputable(() => {
      const scores = tf.add(tf.matMul(x, tf.matMul(x, w), false, true), input('mask'));
      return tf.add(x, tf.matMul(tf.softmax(tf.mul(scores, 0.002)), tf.cast(x, 'float32')));
    });
  const loss = (x: tf.Tensor, w: tf.Tensor) => tf.sum(tf.square(block(block(x, w), tf.mul(w, 1))));
  const { value, grads } = tf.valueAndGrads(loss as (...inputs: tf.Tensor[]) => tf.Scalar)([input('x'), input('w')]);
  return { loss: value, dX: grads[0] as tf.Tensor, dW: grads[1] as tf.Tensor };
}

const ATTENTION: Inputs = { x: [2, 24, 16], w: [2, 16, 16], mask: [2, 24, 24] };

it.each([
  ['dropNoOpCasts', dropNoOpCasts, 0],
  ['mergeEqualOps', mergeEqualOps, 0],
  ['dropDeadOps', dropDeadOps, 0],
  ['scheduleOutputsEarly', scheduleOutputsEarly, 0],
  ['recompute selective', recompute('selective'), FLOAT32_SUMS],
  ['recompute full', recompute('full'), FLOAT32_SUMS],
  ['bf16Matmuls', bf16Matmuls, BFLOAT16],
  ['bf16Matmuls and bf16Softmax', (recording: Recording) => bf16Softmax(bf16Matmuls(recording)), BFLOAT16],
  ['sinkCasts', (recording: Recording) => sinkCasts(bf16Matmuls(recording)), BFLOAT16],
  [
    'all passes in fp32',
    (recording: Recording) => rewrite(recording, { precision: 'fp32', recompute: 'none', hasLoops: true }),
    FLOAT32_SUMS,
  ],
  [
    'all passes in bf16',
    (recording: Recording) => rewrite(recording, { precision: 'bf16', recompute: 'full', hasLoops: true }),
    BFLOAT16,
  ],
] as const)('attention and its gradients are the same after %s', async (_, pass, tolerance) => {
  const api = loadCApi(nativeLibraryDirectory());
  const recording = record(api, ATTENTION, attentionAndGradients);
  // The mark of a block's gradient is no op that TensorFlow knows: only this pass takes it away.
  const before = recompute('none')(recording);
  const isMarked = pass(recording).ops.some(({ type }) => type === BLOCK_GRADIENT);
  await expectSameResults(api, before, isMarked ? pass(before) : pass(recording), tolerance);
});

it('sums and means of squares, whole or by rows, are the same without squares in memory', async () => {
  await expectEqual(
    sumsOfSquares,
    { x: [5, 7, 3] },
    (input) => ({
      whole: tf.sum(tf.square(input('x'))),
      mean: tf.mean(tf.square(input('x'))),
      rows: tf.sum(tf.square(input('x')), [1, 2], true),
      rowMeans: tf.mean(tf.square(input('x')), -1),
    }),
    'Sum',
  );
});

it('sums over all axes but the last are the same as products with ones', async () => {
  await expectEqual(
    sumToMatmul,
    { x: [50, 6], y: [4, 5, 6] },
    (input) => ({ flat: tf.sum(input('x'), 0, true), deep: tf.sum(input('y'), [0, 1]) }),
    'Sum',
  );
});

it('products with vectors are the same as plain ones, whatever side is transposed', async () => {
  await expectEqual(
    vectorProducts,
    { x: [12, 8], column: [8, 1], tall: [12, 1] },
    (input) => ({
      column: tf.matMul(input('x'), input('column')),
      row: tf.matMul(input('tall'), input('x'), true),
      transposed: tf.matMul(input('column'), input('x'), true, true),
    }),
    'BatchMatMulV2',
  );
});

it('a factor times a sigmoid is the same in one op', async () => {
  await expectEqual(
    fuseSigmoidMul,
    { x: [40], y: [40] },
    (input) => ({
      right: tf.mul(input('x'), tf.sigmoid(tf.mul(input('y'), 50))),
      left: tf.mul(tf.sigmoid(input('y')), input('x')),
    }),
    'Sigmoid',
  );
});

it('two halves change places in one op', async () => {
  await expectEqual(
    concatToRoll,
    { x: [3, 2, 8] },
    (input) => ({ swapped: tf.concat(tf.split(input('x'), 2, -1).toReversed(), -1) }),
    'SplitV',
  );
});

/** A gated feed-forward layer over rotated channels, its loss, and the gradients: tensors of 2¹⁸ elements. */
function gatedAndGradients(input: (name: string) => tf.Tensor): Record<string, tf.Tensor> {
  const loss = (x: tf.Tensor, w: tf.Tensor) => {
    const heads = tf.reshape(x, [8, 64, 8, 64]);
    const rolled = tf.concat(tf.split(heads, 2, -1).toReversed(), -1);
    const turned = tf.add(tf.mul(heads, input('cosine')), tf.mul(rolled, input('sine')));
    const rows = tf.reshape(tf.transpose(turned, [0, 2, 1, 3]), [512, 512]);
    const gate = tf.matMul(rows, w);
    const gated = tf.mul(tf.mul(gate, tf.sigmoid(gate)), tf.matMul(rows, w, false, true));
    return tf.sum(tf.square(tf.matMul(gated, w)));
  };
  const { value, grads } = tf.valueAndGrads(loss as (...inputs: tf.Tensor[]) => tf.Scalar)([input('x'), input('w')]);
  return { loss: value, dX: grads[0] as tf.Tensor, dW: grads[1] as tf.Tensor };
}

const GATED: Inputs = { x: [512, 512], w: [512, 512], cosine: [1, 64, 1, 64], sine: [1, 64, 1, 64] };

it.each([
  ['float32', (recording: Recording) => concatToRoll(recording), FLOAT32_SUMS],
  ['bfloat16', (recording: Recording) => sinkCasts(bf16Matmuls(concatToRoll(recording))), BFLOAT16],
] as const)('chains over large tensors are the same as loops, in %s', async (_, prepare, tolerance) => {
  const api = loadCApi(nativeLibraryDirectory());
  const before = prepare(record(api, GATED, gatedAndGradients));
  const after = fuseElementwise(before);
  const bodies = after.ops.filter(({ type }) => type === LOOP).flatMap(({ body }) => body?.ops.map(({ type }) => type));
  expect(bodies).toEqual(expect.arrayContaining(['Roll', 'Sigmoid', 'Reshape']));
  await expectSameResults(api, before, after, tolerance);
});
