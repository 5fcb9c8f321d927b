import { join } from 'node:path';
import { writeShard } from '@weft/checkpoint';
import type { HostArray } from '@weft/engine';
import { initialValue } from '@weft/model';
import { type BenchModel, parametersOf } from './models.js';
import { syntheticBatch } from './synthetic-batch.js';

const SEED = 1;

/** The name of a batch's array in a fixture. */
export function batchName(rank: number, field: string): string {
  return `batch/${rank}/${field}`;
}

/**
 * Writes what every contestant of a case starts from, initial weights and the batch of every rank, into one
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
