import { type Executor, elementCount, type HostArray, type Program } from '@weft/engine';
import { batchName } from './fixture.js';
import { readTensorFile } from './tensor-file.js';

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
