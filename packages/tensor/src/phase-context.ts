import { WeftError } from '@weft/common';
import type { TensorSpec } from './program.js';
import type { tf } from './tf.js';

/** Checks that a value fits its variable. @throws WeftError `invalid_argument`. */
export function checkAssignment(name: string, spec: TensorSpec, value: tf.Tensor, again: boolean): void {
  if (again) throw new WeftError('invalid_argument', `state ${name} is assigned twice in one phase`);
  if (value.shape.join() !== spec.shape.join() || value.dtype !== spec.dtype) {
    throw new WeftError(
      'invalid_argument',
      `state ${name} is ${spec.dtype}[${spec.shape}] but was assigned ${value.dtype}[${value.shape}]`,
    );
  }
}

/** @throws WeftError `invalid_argument` when something is asked for that the program does not declare. */
export function known<T>(value: T | undefined, kind: string, name: string): T {
  if (value === undefined) throw new WeftError('invalid_argument', `${kind} ${name} is not declared`);
  return value;
}
