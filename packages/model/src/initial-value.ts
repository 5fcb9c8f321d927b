import { Random } from '@weft/common';
import { elementCount } from '@weft/tensor';
import { storedTensors } from './moe/stored-tensors.js';
import type { ParameterSpec } from './parameters.js';

/**
 * The first value of a parameter, row-major. It depends on the seed and the parameter's name alone: not on the order
 * of the parameters, the rank, or the number of workers. Every expert of a stack starts by the name it is stored
 * under, so that it does not depend on the placement of experts either.
 */
export function initialValue(spec: ParameterSpec, seed: number): Float32Array {
  const values = new Float32Array(elementCount(spec.shape));
  if (spec.init.kind === 'constant') return values.fill(spec.init.value);
  for (const { name, shape, offset } of storedTensors(spec.name, spec.shape, spec.firstExpert)) {
    const random = Random.of(seed, 'init', name);
    const end = offset + elementCount(shape);
    for (let i = offset; i < end; i++) values[i] = spec.init.stddev * random.normal();
  }
  return values;
}
