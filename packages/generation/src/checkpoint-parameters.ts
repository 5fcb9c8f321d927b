import { type Manifest, readTensors } from '@weft/checkpoint';
import { WeftError } from '@weft/common';
import type { ModelConfig } from '@weft/config';
import { modelParameters, storedTensors } from '@weft/model';
import { elementCount } from '@weft/tensor';

/** The values of a model's parameters by name, row-major, in any order. */
export type ParameterValues = AsyncIterable<readonly [name: string, values: Float32Array]>;

/** Where an array of a checkpoint goes. */
interface Target {
  readonly name: string;
  readonly shape: readonly number[];
  values: Float32Array | undefined;
  missing: number;
}

/**
 * The parameters of a model out of a checkpoint, one at a time, whatever number of ranks and placement of experts wrote
 * it. Moments of the optimizer are not read.
 * @throws WeftError `invalid_argument` naming the first tensor that the checkpoint lacks or has in another shape,
 *         before anything is read; `corrupt_data` for a damaged file
 */
export async function* checkpointParameters(
  model: ModelConfig,
  directory: string,
  manifest: Manifest,
): AsyncGenerator<readonly [name: string, values: Float32Array], void> {
  const available = new Map(manifest.tensors.map((tensor) => [tensor.name, tensor]));
  const uses = new Map<string, { readonly offset: number; readonly target: Target }>();
  for (const { name, shape, firstExpert } of modelParameters(model)) {
    const parts = storedTensors(name, shape, firstExpert);
    const target: Target = { name, shape, values: undefined, missing: parts.length };
    for (const part of parts) {
      const stored = available.get(part.name);
      if (stored === undefined) throw otherModel(directory, `it lacks ${part.name}`);
      if (stored.shape.join() !== part.shape.join())
        throw otherModel(
          directory,
          `${part.name} is [${stored.shape.join(', ')}] there and [${part.shape.join(', ')}] in the model`,
        );
      uses.set(part.name, { offset: part.offset, target });
    }
  }
  for await (const { name, data } of readTensors(directory, manifest, (each) => uses.has(each))) {
    const use = uses.get(name);
    if (use === undefined) continue;
    const { offset, target } = use;
    if (target.missing === 1 && target.values === undefined) target.values = data;
    else {
      target.values ??= new Float32Array(elementCount(target.shape));
      target.values.set(data, offset);
    }
    if (--target.missing > 0) continue;
    yield [target.name, target.values];
    target.values = undefined;
  }
}

function otherModel(directory: string, difference: string): WeftError {
  return new WeftError('invalid_argument', `checkpoint ${directory} is of another model: ${difference}`, {
    hint: 'generate with the model settings of the run that wrote it',
  });
}
