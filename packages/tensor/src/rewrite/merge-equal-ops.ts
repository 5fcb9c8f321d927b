import { createHash } from 'node:crypto';
import type { RecordedOp, ValueId } from '../recording.js';
import { editOps, type Pass } from './edit.js';

/** Ops that differ from run to run although type, attributes and inputs are equal. */
const IMPURE = new Set(['Placeholder', 'RandomStandardNormal', 'RandomUniform', 'TruncatedNormal', 'Multinomial']);

/** Ops of the same type, attributes and inputs are computed once; equal constants are one constant. */
export const mergeEqualOps: Pass = (recording) => {
  const seen = new Map<string, readonly ValueId[]>();
  return editOps(recording, (op, editor) => {
    if (IMPURE.has(op.type)) return editor.keep(op);
    const shape = op.type === 'Const' ? editor.infoOf(op.outputs[0] as ValueId).shape : [];
    const key = keyOf(op, shape);
    const earlier = seen.get(key);
    if (earlier === undefined) {
      seen.set(key, op.outputs);
      return editor.keep(op);
    }
    op.outputs.forEach((output, index) => {
      editor.replace(output, earlier[index] as ValueId);
    });
  });
};

function keyOf(op: RecordedOp, shape: readonly number[]): string {
  const payload = op.payload === undefined ? '' : createHash('sha1').update(op.payload).digest('hex');
  const attrs = Object.entries(op.attrs).sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify([op.type, attrs, op.inputs, shape, payload]);
}
