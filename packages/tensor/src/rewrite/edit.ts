import type { Attrs, OpType } from '../ops.js';
import {
  intsIn,
  type RecordedOp,
  type Recording,
  resultsOf,
  type ValueId,
  type ValueInfo,
  withOps,
} from '../recording.js';
import { itemAt, required } from '../required.js';

/** A rewriting pass: the same results from another list of ops. */
export type Pass = (recording: Recording) => Recording;

/** What a pass may do with the op it visits. An op that is neither kept nor replaced is gone. */
export interface Editor {
  infoOf(value: ValueId): ValueInfo;
  /** The op that yields a value, as this pass has left it. */
  producerOf(value: ValueId): RecordedOp | undefined;
  /** The elements of a constant of int32, such as axes; undefined for anything else. */
  constantInts(value: ValueId): readonly number[] | undefined;
  /** Keeps the visited op as it is. */
  keep(op: RecordedOp): void;
  /** Adds a new op with one output before the next visited one, in the block of the visited one. */
  add(type: OpType, attrs: Attrs, inputs: readonly ValueId[], output: ValueInfo): ValueId;
  /** The same with several outputs. */
  addMany(type: OpType, attrs: Attrs, inputs: readonly ValueId[], outputs: readonly ValueInfo[]): readonly ValueId[];
  /** Adds an op before the next visited one, outside of all blocks, that yields values like the given ones. */
  addLike(values: readonly ValueId[], op: Omit<RecordedOp, 'outputs'>): readonly ValueId[];
  /** Adds a constant before the next visited op. */
  constant(values: Float32Array | Int32Array, shape: readonly number[]): ValueId;
  /** Lets all later uses of `value` see `by`. */
  replace(value: ValueId, by: ValueId): void;
}

/** Walks the ops in order, with the inputs of each already following earlier replacements. */
export function editOps(recording: Recording, visit: (op: RecordedOp, editor: Editor) => void): Recording {
  const ops: RecordedOp[] = [];
  const values = new Map(recording.values);
  const replacement = new Map<ValueId, ValueId>();
  let nextId = Math.max(-1, ...recording.values.keys()) + 1;
  const producers = new Map<ValueId, RecordedOp>();
  const push = (op: RecordedOp) => {
    ops.push(op);
    for (const output of op.outputs) producers.set(output, op);
  };
  let block: { readonly block?: number } = {};
  const addedMany = (op: Omit<RecordedOp, 'outputs'>, infos: readonly ValueInfo[]) => {
    const outputs = infos.map((info) => {
      values.set(nextId, info);
      return nextId++;
    });
    push({ ...block, ...op, outputs });
    return outputs;
  };
  const added = (op: Omit<RecordedOp, 'outputs'>, output: ValueInfo) => itemAt(addedMany(op, [output]), 0);
  const editor: Editor = {
    infoOf: (value) => required(values, value),
    producerOf: (value) => producers.get(value),
    constantInts(value) {
      const { type, constantValue } = producers.get(value) ?? {};
      if (type !== 'Const' || constantValue === undefined || values.get(value)?.dtype !== 'int32') return undefined;
      return intsIn(constantValue);
    },
    keep: push,
    add: (type, attrs, inputs, output) => added({ type, attrs, inputs }, output),
    addMany: (type, attrs, inputs, outputs) => addedMany({ type, attrs, inputs }, outputs),
    constant(array, shape) {
      const dtype = array instanceof Float32Array ? 'float32' : 'int32';
      const constantValue = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
      return added(
        { type: 'Const', attrs: { dtype: { kind: 'type', value: dtype } }, inputs: [], constantValue },
        { shape, dtype },
      );
    },
    addLike(models, op) {
      const outputs = models.map((model) => {
        values.set(nextId, required(values, model));
        return nextId++;
      });
      push({ ...op, outputs });
      return outputs;
    },
    replace: (value, by) => void replacement.set(value, by),
  };
  for (const op of recording.ops) {
    block = op.block === undefined ? {} : { block: op.block };
    const followed = (values: readonly ValueId[]) => values.map((value) => replacement.get(value) ?? value);
    const after = op.after === undefined ? {} : { after: followed(op.after) };
    visit({ ...op, ...after, inputs: followed(op.inputs) }, editor);
  }
  return withOps(recording, ops, values, replacement);
}

/** How often each value is read by an op or is a result. */
export function countUses(recording: Recording): ReadonlyMap<ValueId, number> {
  const uses = new Map<ValueId, number>();
  const read = [...recording.ops.flatMap(({ inputs }) => inputs), ...resultsOf(recording)];
  for (const value of read) uses.set(value, (uses.get(value) ?? 0) + 1);
  return uses;
}
