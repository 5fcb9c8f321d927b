import { WeftError } from '@weft/common';
import type { HostArray, HostTensor, PhaseInputs } from './executor.js';
import { elementCount, type TensorSpec } from './program.js';
import type { tf } from './tf.js';

/** @throws WeftError `invalid_argument` when names or sizes do not match the declaration. */
export function checkInputs(where: string, declared: Readonly<Record<string, TensorSpec>>, fed: PhaseInputs): void {
  for (const name of Object.keys(declared)) {
    if (fed[name] === undefined) throw new WeftError('invalid_argument', `${where}: input ${name} is missing`);
  }
  checkSomeInputs(where, declared, fed);
}

/** The same for inputs of which others may come later. */
export function checkSomeInputs(where: string, declared: Readonly<Record<string, TensorSpec>>, fed: PhaseInputs): void {
  for (const [name, value] of Object.entries(fed)) {
    const spec = declared[name];
    if (spec === undefined) throw new WeftError('invalid_argument', `${where}: there is no input ${name}`);
    checkValue(`${where}: input ${name}`, spec, value);
  }
}

/** @throws WeftError `invalid_argument` when the value's type or number of elements is not the spec's. */
export function checkValue(what: string, spec: TensorSpec, value: HostTensor | HostArray): void {
  const array = arrayOf(value);
  const dtype = array instanceof Float32Array ? 'float32' : 'int32';
  if (dtype !== spec.dtype || array.length !== elementCount(spec.shape)) {
    throw new WeftError(
      'invalid_argument',
      `${what} is ${spec.dtype}[${spec.shape}] but got ${dtype} with ${array.length} elements`,
    );
  }
}

export function arrayOf(value: HostTensor | HostArray): HostArray {
  return value instanceof Float32Array || value instanceof Int32Array ? value : value.data;
}

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
