import { createHash } from 'node:crypto';
import { outputOf, type RecordedOp, resultsOf, type ValueId, withOps } from '../recording.js';
import { itemAt } from '../required.js';
import { editOps, type Pass } from './edit.js';
/** A cast from a type to itself, and an identity, are their inputs. */
export const dropNoOpCasts: Pass = (recording) =>
  editOps(recording, (op, editor) => {
    const [input] = op.inputs;
    const [output] = op.outputs;
    if (isNoOp(op) && input !== undefined && output !== undefined) editor.replace(output, input);
    else editor.keep(op);
  });

function isNoOp(op: RecordedOp): boolean {
  if (op.type === 'Identity') return true;
  return op.type === 'Cast' && op.attrs.SrcT?.value === op.attrs.DstT?.value;
}

/** Ops of the same type, attributes and inputs are computed once; equal constants are one constant. */
export const mergeEqualOps: Pass = (recording) => {
  const seen = new Map<string, readonly ValueId[]>();
  return editOps(recording, (op, editor) => {
    // Placeholders differ although type, attributes and inputs are equal.
    if (op.type === 'Placeholder') return editor.keep(op);
    const shape = op.type === 'Const' ? editor.infoOf(outputOf(op)).shape : [];
    const key = keyOf(op, shape);
    const earlier = seen.get(key);
    if (earlier === undefined) {
      seen.set(key, op.outputs);
      return editor.keep(op);
    }
    op.outputs.forEach((output, index) => {
      editor.replace(output, itemAt(earlier, index));
    });
  });
};

function keyOf(op: RecordedOp, shape: readonly number[]): string {
  const constantValue = op.constantValue === undefined ? '' : createHash('sha1').update(op.constantValue).digest('hex');
  const attrs = Object.entries(op.attrs).sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify([op.type, attrs, op.inputs, shape, constantValue]);
}

/** Ops that no result needs are gone. Placeholders of declared inputs stay, so that they can be fed. */
export const dropDeadOps: Pass = (recording) => {
  const needed = new Set<ValueId>([...resultsOf(recording), ...Object.values(recording.inputs)]);
  const kept = recording.ops.toReversed().filter((op) => {
    if (!op.outputs.some((output) => needed.has(output))) return false;
    for (const input of [...op.inputs, ...(op.after ?? [])]) needed.add(input);
    return true;
  });
  return withOps(recording, kept.reverse(), recording.values);
};
