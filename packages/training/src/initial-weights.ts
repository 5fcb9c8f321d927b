import { type Manifest, readManifest, readTensors } from '@weft/checkpoint';
import { WeftError } from '@weft/common';
import { type Executor, elementCount } from '@weft/engine';
import { denseTwin, isRouter, storedTensors } from '@weft/model';
import { initialiseState, writeInGroups } from './model-state.js';
import type { StatefulProgram } from './stored-state.js';

/**
 * Begins a run from the weights of a checkpoint: the moments are 0, the step is the first. A MoE model may begin from
 * a dense one: its experts are copies of the dense feed-forward, its routers start from the seed.
 * @throws WeftError `not_found` or `corrupt_data` from the checkpoint, `invalid_argument` when it is not of this model
 *         nor of its dense backbone.
 */
export async function initialiseFrom(
  executor: Executor,
  program: StatefulProgram,
  seed: number,
  directory: string,
): Promise<void> {
  const manifest = await readManifest(directory);
  const targets = targetsBySource(program, manifest, directory);
  await initialiseState(executor, program, seed);
  await writeInGroups(executor, filledParameters(targets, directory, manifest));
}

/** A part of a parameter, and the parameter that is whole when all its parts have come. */
interface Target {
  readonly shape: readonly number[];
  readonly offset: number;
  readonly whole: { readonly name: string; readonly length: number; values?: Float32Array; missing: number };
}

function targetsBySource(
  { parameters, stored }: StatefulProgram,
  { tensors }: Manifest,
  directory: string,
): ReadonlyMap<string, readonly Target[]> {
  const held = new Set(tensors.map(({ name }) => name));
  const targets = new Map<string, Target[]>();
  for (const { name, shape } of parameters) {
    const parts = storedTensors(name, shape, stored.firstExpert);
    const whole = { name, length: elementCount(shape), missing: parts.length };
    for (const part of parts) {
      const source = [part.name, denseTwin(part.name)].find((each) => each !== undefined && held.has(each));
      if (source !== undefined) targets.set(source, [...(targets.get(source) ?? []), { ...part, whole }]);
      else if (!isRouter(name)) throw mismatch(directory, `it lacks ${part.name}`);
    }
  }
  return targets;
}

async function* filledParameters(
  targets: ReadonlyMap<string, readonly Target[]>,
  directory: string,
  manifest: Manifest,
): AsyncIterable<readonly [string, Float32Array]> {
  for await (const { name, shape, data } of readTensors(directory, manifest, (each) => targets.has(each))) {
    for (const { shape: wanted, offset, whole } of targets.get(name) ?? []) {
      if (wanted.join() !== shape.join()) {
        throw mismatch(directory, `${name} is [${shape.join(', ')}] there and [${wanted.join(', ')}] in the model`);
      }
      whole.values ??= new Float32Array(whole.length);
      whole.values.set(data, offset);
      whole.missing--;
      if (whole.missing > 0) continue;
      yield [whole.name, whole.values];
      delete whole.values;
    }
  }
}

function mismatch(directory: string, difference: string): WeftError {
  return new WeftError('invalid_argument', `the run cannot begin from checkpoint ${directory}: ${difference}`, {
    cure: 'name a checkpoint of a model with the same widths and layers',
  });
}
