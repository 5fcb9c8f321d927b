import { readManifest, readTensors } from '@weft/checkpoint';
import { WeftError } from '@weft/common';
import { type Executor, elementCount } from '@weft/engine';
import { initialValue } from '@weft/model';
import type { TrainProgram } from './train-program.js';

/** Sets every parameter from the seed and every optimizer moment to 0. */
export async function initialiseState(executor: Executor, program: TrainProgram, seed: number): Promise<void> {
  const parameters = new Map(program.parameters.map((parameter) => [parameter.name, parameter]));
  await writeInGroups(
    executor,
    Object.entries(program.state).map(([name, { shape }]) => {
      const parameter = parameters.get(name);
      return { name, value: () => (parameter ? initialValue(parameter, seed) : new Float32Array(elementCount(shape))) };
    }),
  );
}

/**
 * Loads a checkpoint, whatever worldSize wrote it.
 * @throws WeftError `corrupt_data` from the checkpoint, `invalid_argument` when its tensors are not the model's.
 */
export async function loadState(executor: Executor, program: TrainProgram, directory: string): Promise<void> {
  const manifest = await readManifest(directory);
  const missing = new Set(Object.keys(program.state));
  for await (const { name, shape, data } of readTensors(directory, manifest)) {
    const spec = program.state[name];
    if (spec === undefined) throw mismatch(directory, `it holds ${name}, which the model does not have`);
    if (spec.shape.join() !== shape.join()) {
      throw mismatch(directory, `${name} is [${shape.join(', ')}] there and [${spec.shape.join(', ')}] in the model`);
    }
    await executor.writeState({ [name]: data });
    missing.delete(name);
  }
  const [first] = missing;
  if (first !== undefined) throw mismatch(directory, `it lacks ${first}`);
}

function mismatch(directory: string, difference: string): WeftError {
  return new WeftError('invalid_argument', `checkpoint ${directory} is of another model: ${difference}`, {
    cure: 'resume it with the model settings of the run that wrote it',
  });
}

/** Bounds the memory that initial values take besides the engine's. */
const GROUP_ELEMENTS = 16 * 2 ** 20;

async function writeInGroups(
  executor: Executor,
  entries: readonly { readonly name: string; readonly value: () => Float32Array }[],
): Promise<void> {
  let group: Record<string, Float32Array> = {};
  let elements = 0;
  for (const { name, value } of entries) {
    const array = value();
    group[name] = array;
    elements += array.length;
    if (elements < GROUP_ELEMENTS) continue;
    await executor.writeState(group);
    group = {};
    elements = 0;
  }
  await executor.writeState(group);
}
