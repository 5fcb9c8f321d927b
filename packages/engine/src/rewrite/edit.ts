import {
  type Attrs,
  type RecordedOp,
  type Recording,
  type ValueId,
  type ValueInfo,
  withOps,
} from '../graph/recording.js';

/** A rewriting pass: the same results from another list of ops. */
export type Pass = (recording: Recording) => Recording;

/** What a pass may do with the op it visits. An op that is neither kept nor replaced is gone. */
export interface Editor {
  infoOf(value: ValueId): ValueInfo;
  /** Keeps the visited op as it is. */
  keep(op: RecordedOp): void;
  /** Adds a new op with one output before the next visited one. */
  add(type: string, attrs: Attrs, inputs: readonly ValueId[], output: ValueInfo): ValueId;
  /** Lets all later uses of `value` see `by`. */
  replace(value: ValueId, by: ValueId): void;
}

/** Walks the ops in order, with the inputs of each already following earlier replacements. */
export function editOps(recording: Recording, visit: (op: RecordedOp, editor: Editor) => void): Recording {
  const ops: RecordedOp[] = [];
  const values = new Map(recording.values);
  const replacement = new Map<ValueId, ValueId>();
  let nextId = Math.max(-1, ...recording.values.keys()) + 1;
  const editor: Editor = {
    infoOf: (value) => values.get(value) as ValueInfo,
    keep: (op) => void ops.push(op),
    add(type, attrs, inputs, output) {
      const id = nextId++;
      values.set(id, output);
      ops.push({ type, attrs, inputs, outputs: [id] });
      return id;
    },
    replace: (value, by) => void replacement.set(value, by),
  };
  for (const op of recording.ops) {
    visit({ ...op, inputs: op.inputs.map((input) => replacement.get(input) ?? input) }, editor);
  }
  return withOps(recording, ops, values, replacement);
}
