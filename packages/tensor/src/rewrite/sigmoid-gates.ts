import type { RecordedOp, ValueId } from '../recording.js';
import { FLOAT, isFloat } from './attrs.js';
import { countUses, type Editor, editOps, type Pass } from './edit.js';

/**
 * a·sigmoid(b) is one pass, TensorFlow's `SoftplusGrad`, where nobody else reads the sigmoid. x·sigmoid(x) stays: the
 * library makes one kernel of it itself.
 */
export const sigmoidGates: Pass = (recording) => {
  const uses = countUses(recording);
  return editOps(recording, (op, editor) => {
    const gated = op.type === 'Mul' && isFloat(op.attrs) ? gate(op, editor, uses) : undefined;
    if (gated === undefined) return editor.keep(op);
    const result = op.outputs[0] as ValueId;
    editor.replace(result, editor.add('SoftplusGrad', FLOAT, gated, editor.infoOf(result)));
  });
};

/** The factor, and what the sigmoid beside it is taken of. */
function gate(op: RecordedOp, editor: Editor, uses: ReadonlyMap<ValueId, number>): [ValueId, ValueId] | undefined {
  const [left, right] = op.inputs as readonly [ValueId, ValueId];
  for (const [factor, other] of [
    [left, right],
    [right, left],
  ] as const) {
    const sigmoid = editor.producerOf(other);
    const argument = sigmoid?.inputs[0];
    if (sigmoid?.type !== 'Sigmoid' || argument === undefined || uses.get(other) !== 1) continue;
    const sameShape = editor.infoOf(factor).shape.join() === editor.infoOf(argument).shape.join();
    if (sameShape && factor !== argument) return [factor, argument];
  }
  return undefined;
}
