import { refuse } from '@weft/common';
import type { DType } from './dtype.js';
import type { Attrs, OpType } from './ops.js';

/** A value of a recording: one output of one op, named by a number. */
export type ValueId = number;

/** One op as recorded. */
export interface RecordedOp {
  /** One of `OP_FAMILIES`, which says what its inputs are. */
  readonly type: OpType;
  readonly attrs: Attrs;
  readonly inputs: readonly ValueId[];
  readonly outputs: readonly ValueId[];
  /** Of a `Const`: its bytes, row-major. */
  readonly constantValue?: Uint8Array;
  /** Of a `Placeholder` that stands for a resident variable: its name. */
  readonly variable?: string;
  /** Values whose ops must have run before this one, which does not read them. */
  readonly after?: readonly ValueId[];
  /** The recomputable block that it belongs to; see `recomputable`. */
  readonly block?: number;
  /** Of a `LOOP`, or of an update that becomes one: what it computes. */
  readonly body?: LoopBody;
}

/** The type of an op that computes a chain of elementwise ops in one loop over memory. */
export const LOOP = 'Loop';

/** The ops of a loop in an order of execution. Their values are those of the recording; only the outputs leave. */
export interface LoopBody {
  readonly ops: readonly RecordedOp[];
  readonly inputs: readonly ValueId[];
  readonly outputs: readonly ValueId[];
}

/** Shape and element type of a value. */
export interface ValueInfo {
  readonly shape: readonly number[];
  readonly dtype: DType;
}

/** The attributes of a value that stands for itself, such as a placeholder. */
export function infoAttrs({ dtype, shape }: ValueInfo): Attrs {
  return { dtype: { kind: 'type', value: dtype }, shape: { kind: 'shape', value: shape } };
}

/** A phase as a list of ops in the order of the recording, which is an order of execution. */
export interface Recording {
  readonly program: string;
  readonly phase: string;
  readonly ops: readonly RecordedOp[];
  readonly values: ReadonlyMap<ValueId, ValueInfo>;
  /** `Placeholder` values by input name. */
  readonly inputs: Readonly<Record<string, ValueId>>;
  /** Fetched values by output name. */
  readonly outputs: Readonly<Record<string, ValueId>>;
  /** New values of resident variables by name. */
  readonly assignments: Readonly<Record<string, ValueId>>;
  /** Inputs whose memory the output of the same name takes over, see `Phase.replaces`; default: none. */
  readonly replaced?: readonly string[] | undefined;
}

/** An input of an op. @throws WeftError `internal` when it has no such input. */
export function inputOf({ type, inputs }: RecordedOp, index = 0): ValueId {
  return inputs[index] ?? refuse('internal', `${type} has no input ${index}`);
}

/** An output of an op. @throws WeftError `internal` when it has no such output. */
export function outputOf({ type, outputs }: RecordedOp, index = 0): ValueId {
  return outputs[index] ?? refuse('internal', `${type} has no output ${index}`);
}

/** The elements of a constant of int32. */
export function intsIn(constantValue: Uint8Array): readonly number[] {
  return [...new Int32Array(constantValue.slice().buffer)];
}

/** Everything the phase must compute. */
export function resultsOf(recording: Recording): readonly ValueId[] {
  return [...Object.values(recording.outputs), ...Object.values(recording.assignments)];
}

/** The recording with other ops, and results followed through `replacement`. */
export function withOps(
  recording: Recording,
  ops: readonly RecordedOp[],
  values: ReadonlyMap<ValueId, ValueInfo>,
  replacement: ReadonlyMap<ValueId, ValueId> = new Map(),
): Recording {
  const follow = (record: Readonly<Record<string, ValueId>>) =>
    Object.fromEntries(Object.entries(record).map(([name, id]) => [name, replacement.get(id) ?? id]));
  return {
    ...recording,
    ops,
    values,
    outputs: follow(recording.outputs),
    assignments: follow(recording.assignments),
  };
}
