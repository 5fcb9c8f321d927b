import { type Manifest, readTensors } from '@weft/checkpoint';
import { WeftError } from '@weft/common';
import { type Executor, elementCount } from '@weft/engine';
import { initialValue, storedTensors } from '@weft/model';
import type { StatefulProgram } from './stored-state.js';

/** Sets every parameter from the seed and every optimizer moment to 0. */
export async function initialiseState(executor: Executor, program: StatefulProgram, seed: number): Promise<void> {
  const parameters = new Map(program.parameters.map((parameter) => [parameter.name, parameter]));
  const initial = Object.entries(program.state).map(([name, { shape }]) => {
    const parameter = parameters.get(name);
    return () => [name, parameter ? initialValue(parameter, seed) : new Float32Array(elementCount(shape))] as const;
  });
  await writeInGroups(executor, lazily(initial));
}

/**
 * Loads a checkpoint, whatever worldSize and placement of experts wrote it.
 * @throws WeftError `corrupt_data` from the checkpoint, `invalid_argument` when its tensors are not the model's.
 */
export async function loadState(
  executor: Executor,
  program: StatefulProgram,
  directory: string,
  manifest: Manifest,
): Promise<void> {
  await writeInGroups(executor, residentTensors(program, directory, manifest));
}

/** A resident tensor, and what of it has not come yet. */
interface Gathered {
  readonly name: string;
  readonly shape: readonly number[];
  values: Float32Array | undefined;
  missing: number;
}

/** Every resident tensor that checkpoints hold, whole: stacks of experts are put together from one tensor per expert. */
async function* residentTensors(
  { stored }: StatefulProgram,
  directory: string,
  manifest: Manifest,
): AsyncIterable<NamedArray> {
  const parts = new Map(
    stored.tensors.flatMap(({ name, shape }) => {
      const own = storedTensors(name, shape, stored.firstExpert);
      const whole: Gathered = { name, shape, values: undefined, missing: own.length };
      return own.map((part) => [part.name, { ...part, whole }] as const);
    }),
  );
  const isOurs = (name: string) => parts.has(name) || !stored.isElsewhere(name);
  for await (const { name, shape, data } of readTensors(directory, manifest, isOurs)) {
    const part = parts.get(name);
    if (part === undefined) throw mismatch(directory, `it holds ${name}, which the model does not have`);
    if (part.shape.join() !== shape.join()) {
      throw mismatch(directory, `${name} is [${shape.join(', ')}] there and [${part.shape.join(', ')}] in the model`);
    }
    parts.delete(name);
    const { whole, offset } = part;
    if (whole.shape.length === shape.length) whole.values = data;
    else {
      whole.values ??= new Float32Array(elementCount(whole.shape));
      whole.values.set(data, offset);
    }
    whole.missing--;
    if (whole.missing === 0) yield [whole.name, whole.values];
  }
  const [first] = parts.keys();
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

/** Writes tensors into the engine, some at a time. */
export async function writeInGroups(
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
