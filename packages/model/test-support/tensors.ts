import { Random } from '@weft/common';
import { tf } from '@weft/tensor';
import type { ParameterSpec, Parameters } from '../src/parameters.js';

await tf.setBackend('cpu');

/** Standard normal numbers times `scale`; the same for the same label. */
export function randomTensor(label: string, shape: readonly number[], scale = 1): tf.Tensor {
  const random = Random.of('test', label);
  const values = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => scale * random.normal());
  return tf.tensor(values, [...shape]);
}

/** Large random values for declared parameters, so that every one of them matters; the scales of norms lie around 1. */
export function randomParameters(specs: readonly ParameterSpec[], scale = 0.4): Map<string, tf.Tensor> {
  return new Map(
    specs.map(({ name, shape, init }) => {
      const noise = randomTensor(name, shape, scale);
      return [name, init.kind === 'constant' ? tf.add(noise, init.value) : noise];
    }),
  );
}

/** Looks parameters up in a map. */
export function lookup(values: ReadonlyMap<string, tf.Tensor>): Parameters {
  return (name) => {
    const found = values.get(name);
    if (found === undefined) throw new Error(`the parameter ${name} was not declared`);
    return found;
  };
}

export function numbers(tensor: tf.Tensor): number[] {
  return Array.from(tensor.dataSync());
}

/** The largest difference of two equally long lists. */
export function distance(a: readonly number[], b: readonly number[]): number {
  if (a.length !== b.length) throw new Error(`lengths differ: ${a.length} and ${b.length}`);
  return a.reduce((largest, value, i) => Math.max(largest, Math.abs(value - (b[i] ?? Number.NaN))), 0);
}
