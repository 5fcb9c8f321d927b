import { Random } from '@weft/common';
import type { ParameterSpec } from './parameters.js';

/**
 * The first value of a parameter, row-major. It depends on the seed and the parameter's name alone:
 * not on the order of the parameters, the rank, or the number of workers.
 */
export function initialValue(spec: ParameterSpec, seed: number): Float32Array {
  const values = new Float32Array(spec.shape.reduce((product, dimension) => product * dimension, 1));
  if (spec.init.kind === 'constant') return values.fill(spec.init.value);
  const random = Random.of(seed, 'init', spec.name);
  for (let i = 0; i < values.length; i++) values[i] = spec.init.stddev * random.normal();
  return values;
}
