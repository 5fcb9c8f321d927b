import { refuse, WeftError } from '@weft/common';
import { type DType, intsIn, type ValueInfo } from '@weft/tensor';

/** A value of the module that is being written. */
export interface Value extends ValueInfo {
  /** As the text calls it: "%12". */
  readonly name: string;
  /** Of a constant of the recording: its bytes, for shapes and axes that must be known while lowering. */
  readonly constantValue?: Uint8Array;
}

const ELEMENT_NAMES: Readonly<Partial<Record<DType, string>>> = {
  float32: 'f32',
  bfloat16: 'bf16',
  int32: 'i32',
  int64: 'i64',
  uint8: 'ui8',
  bool: 'i1',
};

/** A type as StableHLO writes it: "tensor<2x3xf32>". @throws WeftError `internal` for a type that XLA does not have. */
export function typeOf({ shape, dtype }: ValueInfo): string {
  const element = ELEMENT_NAMES[dtype] ?? refuse('internal', `values of type ${dtype} cannot be lowered`);
  return `tensor<${[...shape, element].join('x')}>`;
}

/** Whether elements are real numbers. */
export function isReal(dtype: DType): boolean {
  return dtype === 'float32' || dtype === 'bfloat16';
}

export function range(length: number, from = 0): number[] {
  return Array.from({ length }, (_, i) => from + i);
}

export function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((size, axis) => size === b[axis]);
}

/** The shape of an elementwise op over two shapes, aligned at their last axes. @throws WeftError `internal`. */
export function broadcastShape(a: readonly number[], b: readonly number[]): readonly number[] {
  const rank = Math.max(a.length, b.length);
  return range(rank).map((axis) => {
    const [x, y] = [a, b].map((shape) => shape[axis - rank + shape.length] ?? 1) as [number, number];
    if (x !== y && x !== 1 && y !== 1) throw new WeftError('internal', `shapes [${a}] and [${b}] do not broadcast`);
    return x === 1 ? y : x;
  });
}

/** The axis counted from the front. @throws WeftError `internal` when there is none. */
export function axisOf(axis: number, rank: number): number {
  const found = axis < 0 ? axis + rank : axis;
  if (found < 0 || found >= rank) throw new WeftError('internal', `there is no axis ${axis} in rank ${rank}`);
  return found;
}

/** The elements of an int32 input that must be a constant, such as axes. @throws WeftError `internal` when it is not. */
export function constantInts(value: Value, what: string): readonly number[] {
  if (value.constantValue === undefined || value.dtype !== 'int32') {
    throw new WeftError('internal', `${what} must be an int32 constant`);
  }
  return intsIn(value.constantValue);
}

/** The same for a scalar. */
export function constantInt(value: Value, what: string): number {
  return constantInts(value, what)[0] ?? refuse('internal', `${what} is empty`);
}
