import { join } from 'node:path';
import { writeShard } from '@weft/checkpoint';
import { initialValue } from '@weft/model';
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
 * Writes what every candidate of a case starts from, initial weights and the batch of every rank, into one
 * safetensors file of float32 values. Ids are below 2²⁴ and lose nothing.
 * @returns the file's path
 */
export async function writeFixture(directory: string, model: BenchModel, worldSize: number): Promise<string> {
  const weights = parametersOf(model).map((spec) => ({
    name: spec.name,
    shape: spec.shape,
    data: initialValue(spec, SEED),
  }));
  const batches = Array.from({ length: worldSize }, (_, rank) =>
    Object.entries(syntheticBatch(model, rank)).map(([field, data]) => ({
      name: batchName(rank, field),
      shape: [data.length],
      data: asFloats(data),
    })),
  ).flat();
  const { name } = await writeShard({ directory, rank: 0, worldSize: 1, tensors: [...weights, ...batches] });
  return join(directory, name);
}

function asFloats(data: HostArray): Float32Array {
  return data instanceof Float32Array ? data : Float32Array.from(data);
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
    group[name] = data;
    elements += data.length;
    if (elements >= GROUP_ELEMENTS) await flush();
  };
  await readTensorFile(fixture, isState, async (name, data) => {
    await put(name, data.slice());
    missing.delete(name);
  });
  for (const name of missing) await put(name, new Float32Array(elementCount(program.state[name]?.shape ?? [])));
  await flush();
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
