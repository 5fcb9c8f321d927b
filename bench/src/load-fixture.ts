import { type Executor, elementCount, type HostArray, type Program } from '@weft/engine';
import { batchName } from './fixture.js';
import { readTensorFile } from './tensor-file.js';

/** Puts the fixture's weights into the engine, and 0 into the moments. */
export async function loadWeights(executor: Executor, program: Program, fixture: string): Promise<void> {
  const isState = (name: string) => program.state[name] !== undefined;
  const missing = new Set(Object.keys(program.state));
  await readTensorFile(fixture, isState, async (name, data) => {
    await executor.writeState({ [name]: data });
    missing.delete(name);
  });
  for (const name of missing) {
    await executor.writeState({ [name]: new Float32Array(elementCount(program.state[name]?.shape ?? [])) });
  }
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
