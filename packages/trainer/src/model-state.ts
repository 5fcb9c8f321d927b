import { type Manifest, readTensors } from '@weft/checkpoint';
import { WeftError } from '@weft/common';
import { type Executor, elementCount } from '@weft/engine';
import { initialValue } from '@weft/model';
import type { TrainProgram } from './train-program.js';

/** Sets every parameter from the seed and every optimizer moment to 0. */
export async function initialiseState(executor: Executor, program: TrainProgram, seed: number): Promise<void> {
  const parameters = new Map(program.parameters.map((parameter) => [parameter.name, parameter]));
  const initial = Object.entries(program.state).map(([name, { shape }]) => {
    const parameter = parameters.get(name);
    return () => [name, parameter ? initialValue(parameter, seed) : new Float32Array(elementCount(shape))] as const;
  });
  await writeInGroups(executor, lazily(initial));
}

/**
 * Loads a checkpoint, whatever worldSize wrote it.
 * @throws WeftError `corrupt_data` from the checkpoint, `invalid_argument` when its tensors are not the model's.
 */
export async function loadState(
  executor: Executor,
  program: TrainProgram,
  directory: string,
  manifest: Manifest,
): Promise<void> {
  await writeInGroups(executor, checkedTensors(program, directory, manifest));
}

async function* checkedTensors(
  program: TrainProgram,
  directory: string,
  manifest: Manifest,
): AsyncIterable<NamedArray> {
  const missing = new Set(Object.keys(program.state));
  for await (const { name, shape, data } of readTensors(directory, manifest)) {
    const spec = program.state[name];
    if (spec === undefined) throw mismatch(directory, `it holds ${name}, which the model does not have`);
    if (spec.shape.join() !== shape.join()) {
      throw mismatch(directory, `${name} is [${shape.join(', ')}] there and [${spec.shape.join(', ')}] in the model`);
    }
    missing.delete(name);
    yield [name, data];
  }
  const [first] = missing;
  if (first !== undefined) throw mismatch(directory, `it lacks ${first}`);
}

function mismatch(directory: string, difference: string): WeftError {
  return new WeftError('invalid_argument', `checkpoint ${directory} is of another model: ${difference}`, {
    cure: 'resume it with the model settings of the run that wrote it',
  });
}

type NamedArray = readonly [name: string, values: Float32Array];

function* lazily<T>(makers: readonly (() => T)[]): Iterable<T> {
  for (const make of makers) yield make();
}

/** Bounds the memory that values take on their way into the engine. */
const GROUP_ELEMENTS = 16 * 2 ** 20;

async function writeInGroups(
  executor: Executor,
  values: Iterable<NamedArray> | AsyncIterable<NamedArray>,
): Promise<void> {
  let group: Record<string, Float32Array> = {};
  let elements = 0;
  for await (const [name, array] of values) {
    group[name] = array;
    elements += array.length;
    if (elements < GROUP_ELEMENTS) continue;
    await executor.writeState(group);
    group = {};
    elements = 0;
  }
  await executor.writeState(group);
}
