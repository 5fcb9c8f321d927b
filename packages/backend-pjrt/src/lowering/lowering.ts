import { refuse } from '@weft/common';
import type { Attrs, OP_FAMILIES, RecordedOp } from '@weft/tensor';
import type { Builder } from './builder.js';
import type { Value } from './value.js';

/** An op as its lowering sees it. */
export interface LoweredOp {
  readonly attrs: Attrs;
  /** Values that must be there before it runs. */
  readonly after: readonly Value[];
}

/** Writes one op of a recording in StableHLO: its inputs in, its outputs out. It computes their shapes from the inputs alone. */
export type Lowering = (builder: Builder, inputs: readonly Value[], op: LoweredOp) => Value | readonly Value[];

/**
 * Op types that no lowering meets: sources are arguments and constants, and the others come from rewriting passes that
 * serve TensorFlow's kernels.
 */
type NotLowered = keyof (typeof OP_FAMILIES)['sources'] | Exclude<keyof (typeof OP_FAMILIES)['rewritten'], 'Identity'>;
export type LoweredType = Exclude<RecordedOp['type'], NotLowered>;

/** A boolean attribute; one that was not given is false. */
export function flag({ attrs }: LoweredOp, name: string): boolean {
  return attrs[name]?.value === true;
}

/** An attribute that is a real number. @throws WeftError `internal` when it is not given. */
export function number({ attrs }: LoweredOp, name: string): number {
  const attr = attrs[name];
  return attr?.kind === 'float' ? attr.value : refuse('internal', `attribute ${name} is not given`);
}

/** The first inputs of an op, as many as its lowering reads. @throws WeftError `internal` when it has fewer. */
export function input(inputs: readonly Value[], index: number): Value {
  return inputs[index] ?? refuse('internal', `there is no input ${index}`);
}

export function pair(inputs: readonly Value[]): readonly [Value, Value] {
  return [input(inputs, 0), input(inputs, 1)];
}

export function triple(inputs: readonly Value[]): readonly [Value, Value, Value] {
  return [input(inputs, 0), input(inputs, 1), input(inputs, 2)];
}
