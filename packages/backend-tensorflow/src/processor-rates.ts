import { availableParallelism, cpus } from 'node:os';
import { dirname, join } from 'node:path';
import { makeDirectory, readJsonFile, writeJsonFile } from '@weft/files';
import { cacheDirectory } from '@weft/native-setup';
import { type Executor, elementCount, type Precision, type Program, type TensorSpec, tf } from '@weft/tensor';
import { createExecutor } from './create-executor.js';

/** What this machine's processor reaches through TensorFlow: the scale of estimates. */
export interface ProcessorRates {
  /** "AMD EPYC, 2 threads" */
  readonly processor: string;
  /** Of large matrix products. */
  readonly flopsPerSecond: number;
  /** Read and written by a compiled loop over arrays that no cache holds. */
  readonly bytesPerSecond: number;
}

/** Side of the matrices: so large that casts and calls are a few per cent of the product. */
export const GEMM_SIDE = { fp32: 2048, bf16: 4096 } as const satisfies Record<Precision, number>;

/** Elements of each of two arrays: 64 MiB. */
const LOOP_ELEMENTS = 2 ** 24;
/** Two arrays are read and one is written. */
const LOOP_BYTES = 3 * 4 * LOOP_ELEMENTS;
/** The first run compiles; of the others the fastest counts, which other processes disturb least. */
const RUNS = 5;

/**
 * Measures this processor, in a second or two.
 * @param threads inside one op; 0: as many as there are cores
 * @throws WeftError `native_library` when TensorFlow cannot be loaded
 */
export async function measureProcessor(precision: Precision, threads: number): Promise<ProcessorRates> {
  const side = GEMM_SIDE[precision];
  const product = await fastestSeconds(gemmProgram(side, 1), 'multiply', 1 / Math.sqrt(side), { precision, threads });
  const loop = await fastestSeconds(loopProgram(), 'add', 1, { precision: 'fp32', threads });
  const cores = threads === 0 ? availableParallelism() : threads;
  return {
    processor: `${cpus()[0]?.model ?? 'unknown processor'}, ${cores} thread${cores === 1 ? '' : 's'}`,
    flopsPerSecond: (2 * side ** 3) / product,
    bytesPerSecond: LOOP_BYTES / loop,
  };
}

/**
 * The rates of this processor: measured once, and then read from Weft's cache.
 * @throws WeftError as `measureProcessor`
 */
export async function processorRates(precision: Precision, threads: number): Promise<ProcessorRates> {
  const file = ratesFile(precision, threads);
  const known = await readJsonFile(file).catch(() => undefined);
  if (isRates(known)) return known;
  const measured = await measureProcessor(precision, threads);
  await makeDirectory(dirname(file));
  await writeJsonFile(file, measured);
  return measured;
}

function ratesFile(precision: Precision, threads: number): string {
  const name = `${cpus()[0]?.model ?? 'unknown'}-${availableParallelism()}-cores-${threads}-threads-${precision}`;
  return join(cacheDirectory(), 'processors', `${name.replaceAll(/[^\w.-]+/g, '-')}.json`);
}

/** Whatever else lies there is measured again. */
function isRates(value: unknown): value is ProcessorRates {
  if (typeof value !== 'object' || value === null || !('processor' in value)) return false;
  const isRate = (name: string) => {
    const rate: unknown = Reflect.get(value, name);
    return typeof rate === 'number' && rate > 0 && Number.isFinite(rate);
  };
  return typeof value.processor === 'string' && isRate('flopsPerSecond') && isRate('bytesPerSecond');
}

async function fastestSeconds(
  program: Program,
  phase: string,
  scale: number,
  options: { readonly precision: Precision; readonly threads: number },
): Promise<number> {
  const executor = createExecutor(program, { kind: 'graph', ...options });
  try {
    for (const [name, { shape }] of Object.entries(program.state))
      await executor.writeState({ [name]: noise(elementCount(shape), scale) });
    const seconds: number[] = [];
    for (let run = 0; run <= RUNS; run++) seconds.push(await timed(executor, phase));
    return Math.min(...seconds.slice(1));
  } finally {
    await executor.dispose();
  }
}

async function timed(executor: Executor, phase: string): Promise<number> {
  const begin = performance.now();
  // Reading an element waits for all of them.
  const { corner } = await executor.run(phase, {});
  corner?.dispose();
  return (performance.now() - begin) / 1000;
}

/** On zeros and constants chips run faster than on numbers; the scale keeps those of products in range. */
function noise(count: number, scale: number): Float32Array {
  const values = new Float32Array(count);
  let state = 1;
  for (let i = 0; i < count; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    values[i] = (state / 2 ** 31) * scale;
  }
  return values;
}

/** Products of square matrices, each of the one before. */
export function gemmProgram(side: number, products: number): Program {
  const square: TensorSpec = { shape: [side, side], dtype: 'float32' };
  return {
    name: 'gemm',
    state: { a: square, b: square, product: square },
    phases: {
      multiply: {
        inputs: {},
        run: ({ read, assign }) => {
          let product = read('a');
          for (let i = 0; i < products; i++) product = tf.matMul(product, read('b'));
          assign('product', product);
          return { corner: tf.slice(product, [0, 0], [1, 1]) };
        },
      },
    },
  };
}

function loopProgram(): Program {
  const array: TensorSpec = { shape: [LOOP_ELEMENTS], dtype: 'float32' };
  return {
    name: 'loop',
    state: { a: array, b: array },
    phases: {
      add: {
        inputs: {},
        run: ({ read, assign }) => {
          const sum = tf.add(tf.mul(read('a'), read('b')), read('b'));
          assign('a', sum);
          return { corner: tf.slice(sum, [0], [1]) };
        },
      },
    },
  };
}
