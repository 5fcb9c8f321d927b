import { WeftError } from '@weft/common';
import type { PhaseInputs } from './executor.js';
import type { HostArray, HostTensor } from './host-tensor.js';
import { elementCount, type TensorSpec } from './program.js';
import { HostResident, type ResidentTensor } from './resident.js';
import type { tf } from './tf.js';

/** An input of a phase that fits its declaration. */
export interface FedInput {
  readonly name: string;
  readonly spec: TensorSpec;
  readonly value: HostTensor | HostArray;
}

/** Whether a resident tensor lies in the memory of the engine that asks. */
type IsOurs = (value: ResidentTensor) => boolean;

/**
 * Checks the inputs of a phase against their declaration.
 *
 * @param where the program and the phase, for the message
 * @param isOurs which resident tensors the engine takes as they are; default: only those that lie on the host
 * @returns those that lie on the host
 * @throws WeftError `invalid_argument` when an input is missing, unknown or of another type or size.
 */
export function checkInputs(
  where: string,
  declared: Readonly<Record<string, TensorSpec>>,
  fed: PhaseInputs,
  isOurs?: IsOurs,
): readonly FedInput[] {
  for (const name of Object.keys(declared)) {
    if (fed[name] === undefined) throw new WeftError('invalid_argument', `${where}: input ${name} is missing`);
  }
  return checkSomeInputs(where, declared, fed, isOurs);
}

/** The same for inputs of which others may come later. */
export function checkSomeInputs(
  where: string,
  declared: Readonly<Record<string, TensorSpec>>,
  fed: PhaseInputs,
  isOurs: IsOurs = () => false,
): readonly FedInput[] {
  return Object.entries(fed).flatMap(([name, given]) => {
    const spec = declared[name];
    if (spec === undefined) throw new WeftError('invalid_argument', `${where}: there is no input ${name}`);
    const what = `${where}: input ${name}`;
    const value = given instanceof HostResident ? given.tensor : given;
    if (isOnHost(value)) {
      checkValue(what, spec, value);
      return [{ name, spec, value }];
    }
    if (!isOurs(value)) throw new WeftError('invalid_argument', `${what} lies in the memory of another engine`);
    if (value.spec.dtype === spec.dtype && value.spec.shape.join() === spec.shape.join()) return [];
    const { dtype, shape } = value.spec;
    const sentence = `${what} is ${spec.dtype}[${spec.shape}] but got ${dtype}[${shape}]`;
    throw new WeftError('invalid_argument', sentence);
  });
}

function isOnHost(value: HostTensor | HostArray | ResidentTensor): value is HostTensor | HostArray {
  return value instanceof Float32Array || value instanceof Int32Array || 'data' in value;
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

/** The elements of a value, wherever they lie; of a `HostTensor` a view. */
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
