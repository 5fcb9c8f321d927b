import { ADAM_UPDATE } from '../adam-update.js';
import type { RecordedOp, ValueId } from '../graph/recording.js';
import { countUses, editOps, type Pass } from './edit.js';

/**
 * What a parameter is replaced by before its update, as weight decay does, waits for the parameter's gradient: it needs
 * nothing but the parameter, and would otherwise be there, for every parameter, from the beginning of the step.
 */
export const decayLate: Pass = (recording) => {
  const uses = countUses(recording);
  const updated = new Set(recording.ops.flatMap(({ type, inputs: [p] }) => (type === ADAM_UPDATE ? [p] : [])));
  const waiting = new Map<ValueId, RecordedOp>();
  return editOps(recording, (op, editor) => {
    const [output] = op.outputs as readonly [ValueId];
    if (op.variable === undefined && op.outputs.length === 1 && updated.has(output) && uses.get(output) === 1) {
      waiting.set(output, op);
      return;
    }
    const decay = op.type === ADAM_UPDATE ? waiting.get(op.inputs[0] as ValueId) : undefined;
    if (decay !== undefined) editor.keep({ ...decay, after: [op.inputs.at(-1) as ValueId] });
    editor.keep(op);
  });
};
