import type { RecordedOp } from '../recording.js';
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
