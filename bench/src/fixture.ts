import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeShard } from '@weft/checkpoint';
import { hash32, Random } from '@weft/common';
import { initialValue, type ParameterSpec } from '@weft/model';
import { type Executor, elementCount, type HostArray, type Program } from '@weft/tensor';
import { type BenchModel, parametersOf } from './models.js';
import { syntheticBatch } from './synthetic-batch.js';
import { readTensorFile } from './tensor-file.js';

const SEED = 1;

/** The name of a batch's array in a fixture. */
function batchName(rank: number, field: string): string {
  return `batch/${rank}/${field}`;
}

/**
 * How a fixture holds weights: `whole`, number by number as the trainer would draw them; `patterned`, for models of
 * billions, as cuts of one block of noise. Drawing those takes minutes, and writing them gigabytes.
 */
export type FixtureWeights = 'whole' | 'patterned';

/** A weight of a patterned fixture: one value everywhere, or the noise from an element on, over and over, times a scale. */
type Pattern = { readonly name: string; readonly shape: readonly number[] } & (
  | { readonly value: number }
  | { readonly offset: number; readonly scale: number }
);

/** Beside a patterned fixture: its weights, in the order of the model. */
const patternsPath = (fixture: string) => `${fixture}.patterns.json`;

/**
 * Writes what every candidate of a case starts from, initial weights and the batch of every rank, into one
 * safetensors file of float32 values. Ids are below 2²⁴ and lose nothing.
 * @returns the file's path
 */
export async function writeFixture(
  directory: string,
  model: BenchModel,
  worldSize: number,
  holds: FixtureWeights = 'whole',
): Promise<string> {
  const parameters = parametersOf(model);
  const weights =
    holds === 'whole'
      ? parameters.map((spec) => ({ name: spec.name, shape: spec.shape, data: initialValue(spec, SEED) }))
      : [{ name: NOISE, shape: [NOISE_ELEMENTS], data: noiseBlock() }];
  const batches = Array.from({ length: worldSize }, (_, rank) =>
    Object.entries(syntheticBatch(model, rank)).map(([field, data]) => ({
      name: batchName(rank, field),
      shape: [data.length],
      data: asFloats(data),
    })),
  ).flat();
  const { name } = await writeShard({ directory, rank: 0, worldSize: 1, tensors: [...weights, ...batches] });
  const path = join(directory, name);
  if (holds === 'patterned') await writeFile(patternsPath(path), JSON.stringify(parameters.map(patternOf)));
  return path;
}

function patternOf({ name, shape, init }: ParameterSpec): Pattern {
  if (init.kind === 'constant') return { name, shape, value: init.value };
  return { name, shape, offset: noiseOffset(name), scale: Math.fround(init.stddev) };
}

function asFloats(data: HostArray): Float32Array {
  return data instanceof Float32Array ? data : Float32Array.from(data);
}

const NOISE = 'noise';
/** Odd, so that rows of matrices do not repeat. */
const NOISE_ELEMENTS = 2 ** 20 + 7;

let block: Float32Array | undefined;

function noiseBlock(): Float32Array {
  const random = Random.of('bench', NOISE);
  block ??= Float32Array.from({ length: NOISE_ELEMENTS }, () => random.normal());
  return block;
}

const noiseOffset = (label: string) => hash32(label) % NOISE_ELEMENTS;

/** Normal numbers with this standard deviation, cheap to have: those of equal labels are equal. */
export function noise(count: number, label: string, scale: number): Float32Array {
  return repeated(noiseBlock(), noiseOffset(label), count, scale);
}

function repeated(source: Float32Array, offset: number, count: number, scale: number): Float32Array {
  const values = new Float32Array(count);
  for (let filled = 0, from = offset; filled < count; from = 0) {
    const cut = source.subarray(from, from + count - filled);
    for (const x of cut) values[filled++] = x * scale;
  }
  return values;
}

/** Bounds the memory that weights take on their way into the engine. */
const GROUP_ELEMENTS = 4 * 2 ** 20;

/** Puts the fixture's weights into the engine, and 0 into the moments; in groups, as every write is a run of its own. */
export async function loadWeights(executor: Executor, program: Program, fixture: string): Promise<void> {
  const isState = (name: string) => program.state[name] !== undefined;
  const missing = new Set(Object.keys(program.state));
  let group: Record<string, HostArray> = {};
  let elements = 0;
  const flush = async () => {
    if (elements === 0) return;
    await executor.writeState(group);
    group = {};
    elements = 0;
  };
  const put = async (name: string, data: HostArray) => {
    missing.delete(name);
    group[name] = data;
    elements += data.length;
    if (elements >= GROUP_ELEMENTS) await flush();
  };
  if (existsSync(patternsPath(fixture))) {
    for (const [name, data] of await patternedWeights(fixture)) await put(name, data());
  } else await readTensorFile(fixture, isState, (name, data) => put(name, data.slice()));
  for (const name of missing) await put(name, new Float32Array(elementCount(program.state[name]?.shape ?? [])));
  await flush();
}

/** By name, made when they are needed. */
async function patternedWeights(fixture: string): Promise<readonly (readonly [string, () => Float32Array])[]> {
  const patterns: readonly Pattern[] = JSON.parse(await readFile(patternsPath(fixture), 'utf8'));
  return patterns.map((pattern) => {
    const count = elementCount(pattern.shape);
    const data = () =>
      'value' in pattern
        ? new Float32Array(count).fill(pattern.value)
        : repeated(noiseBlock(), pattern.offset, count, pattern.scale);
    return [pattern.name, data] as const;
  });
}

/** The batch of a rank by the model's field names. Ids become int32, the mask and the pixels stay float32. */
export async function loadBatch(fixture: string, rank: number): Promise<Readonly<Record<string, HostArray>>> {
  const prefix = batchName(rank, '');
  const batch: Record<string, HostArray> = {};
  await readTensorFile(
    fixture,
    (name) => name.startsWith(prefix),
    (name, data) => {
      const field = name.slice(prefix.length);
      batch[field] = /Mask|images/.test(field) ? data.slice() : Int32Array.from(data);
    },
  );
  return batch;
}
