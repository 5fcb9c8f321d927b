// Legend: R rows (every leading dimension in one), I input width, O output width.
import { tf } from '@weft/tensor';
import { bias, type ParameterSpec, type Parameters, weight } from './parameters.js';

/** `kernel` [I, O] and `bias` [O]. */
export function linearParameters(input: number, output: number, stddev?: number): readonly ParameterSpec[] {
  return [weight('kernel', [input, output], stddev), bias('bias', output)];
}

/** x·kernel + bias, on rows: [R, I] → [R, O]. */
export function linear(x_RI: tf.Tensor, p: Parameters): tf.Tensor {
  return tf.add(tf.matMul(x_RI, p('kernel')), p('bias'));
}
