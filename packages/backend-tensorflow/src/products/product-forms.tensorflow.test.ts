import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  elementCount,
  formsOf,
  type Product,
  type ProductForm,
  type Program,
  productName,
  type RecordedOp,
  type Recording,
  recordProducts,
  required,
  type TensorSpec,
  tf,
  withProductForms,
} from '@weft/tensor';
import { expect, it } from 'vitest';
import { createExecutor } from '../create-executor.js';
import { compilePhase } from '../graph/compile-phase.js';
import { GraphWriter } from '../graph/graph-writer.js';
import { LoopFunctions } from '../graph/loop-functions.js';
import { loadCApi } from '../native/c-api.js';
import { Graph, NativeTensor } from '../native/handles.js';
import type { OpTiming } from '../native/run-trace.js';
import { Session } from '../native/session.js';
import { nativeLibraryDirectory } from '../native-library.js';
import { FormTimer } from './time-forms.js';

const api = loadCApi(nativeLibraryDirectory());
const plain: Product = {
  dtype: 'float32',
  left: [48, 40],
  right: [40, 56],
  isLeftTransposed: false,
  isRightTransposed: false,
};

/** With an op behind the product: TensorFlow leaves alone what it gives out. */
function negated(recording: Recording): Recording {
  const [product, result] = [required(new Map(Object.entries(recording.outputs)), 'product0'), recording.values.size];
  const ops: RecordedOp[] = [
    ...recording.ops,
    { type: 'Neg', attrs: { T: { kind: 'type', value: 'float32' } }, inputs: [product], outputs: [result] },
  ];
  const values = new Map([...recording.values, [result, required(recording.values, product)]]);
  return { ...recording, ops, values, outputs: { result } };
}

/** A product of two waves in a form, and the types of the ops that computed it. */
async function computed(product: Product, form: ProductForm) {
  const graph = new Graph(api);
  const writer = new GraphWriter(api, graph);
  const session = new Session(api, graph, { intraOpThreads: 1, interOpThreads: 1 });
  const recording = withProductForms(
    negated(recordProducts(product, 'only', 1)),
    new Map([[productName(product), form]]),
  );
  const phase = compilePhase(writer, recording, new Map(), new LoopFunctions(api, graph));
  const tensors = [product.left, product.right].map((shape, which) => {
    const tensor = NativeTensor.allocate(api, 'float32', shape);
    tensor.data.set(Float32Array.from({ length: elementCount(shape) }, (_, i) => Math.sin(i * 1.7 + which)));
    return tensor;
  });
  const feeds = [...phase.inputs].map(([name, output]) => ({
    output,
    tensor: tensors[name.startsWith('left') ? 0 : 1] as NativeTensor,
  }));
  const ops: OpTiming[] = [];
  const results = await session.run(feeds, phase.outputs, [], 'a test', (traced) => ops.push(...traced));
  const values = results.flatMap(({ data }) => [...data]);
  for (const tensor of [...tensors, ...results]) tensor.dispose();
  session.dispose();
  writer.dispose();
  graph.dispose();
  return { values, types: ops.map(({ type }) => type) };
}

it.each<Product>([
  plain,
  { ...plain, left: [40, 48], isLeftTransposed: true },
  { ...plain, right: [56, 40], isRightTransposed: true },
  { ...plain, left: [3, 16, 40], right: [56, 40], isRightTransposed: true },
])('every form of $left · $right yields the same', async (product) => {
  const [usual, ...others] = formsOf(product);
  const expected = await computed(product, usual ?? 'batch');
  for (const form of others) {
    const { values, types } = await computed(product, form);
    const distance = Math.max(...values.map((value, i) => Math.abs(value - (expected.values[i] ?? Number.NaN))));
    expect(distance, form).toBeLessThan(1e-5);
    expect(values.length).toBe(expected.values.length);
    // TensorFlow must not make a flag of the transpose again.
    expect(
      types.some((type) => type.includes('Transpose')),
      form,
    ).toBe(form === 'transposed');
    expect(
      types.some((type) => type.includes('BatchMatMul')),
      form,
    ).toBe(form !== 'matrix');
  }
});

it('times a product in the numbers of both precisions', async () => {
  const timer = new FormTimer(api, 1);
  try {
    for (const dtype of ['float32', 'bfloat16'] as const) {
      const product: Product = { ...plain, dtype, left: [128, 64], right: [32, 64], isRightTransposed: true };
      expect(formsOf(product)).toContain((await timer.fastest(product, () => false)).form);
      expect(timer.expectedMs(product)).toBeGreaterThan(0);
    }
  } finally {
    timer.dispose();
  }
});

const square: TensorSpec = { shape: [256, 256], dtype: 'float32' };
const program: Program = {
  name: 'products',
  state: {},
  phases: {
    multiply: {
      inputs: { a: square, b: square },
      run: ({ input }) => ({ y: tf.matMul(input('a'), input('b'), true) }),
    },
  },
};

it('an executor keeps the forms that it chose, and the next one computes the same bits in them', async () => {
  const productForms = await mkdtemp(join(tmpdir(), 'weft-forms-'));
  const start = async (directory: string | undefined) => {
    const executor = createExecutor(program, { kind: 'graph', precision: 'fp32', threads: 1, productForms: directory });
    const wave = (phase: number) => Float32Array.from({ length: 256 * 256 }, (_, i) => Math.sin(i + phase));
    const { y } = await executor.run('multiply', { a: wave(0), b: wave(1) });
    const values = Float32Array.from(y?.data ?? []);
    y?.dispose();
    await executor.dispose();
    return values;
  };
  try {
    const first = await start(productForms);
    const [name = ''] = await readdir(productForms);
    const kept = await readFile(join(productForms, name), 'utf8');
    expect(Object.keys(JSON.parse(kept).forms)).toEqual(['float32 (256x256)T 256x256']);
    expect(await start(productForms)).toEqual(first);
    expect(await readFile(join(productForms, name), 'utf8')).toBe(kept);
    const usual = await start(undefined);
    expect(Math.max(...usual.map((value, i) => Math.abs(value - (first[i] ?? Number.NaN))))).toBeLessThan(1e-3);
  } finally {
    await rm(productForms, { recursive: true, force: true });
  }
});
