import { inputOf, outputOf, type RecordedOp, type ValueId } from '../recording.js';
import { FLOAT, isFloat, typeAttr } from './casts.js';
import { countUses, type Editor, editOps, type Pass } from './edit.js';
/**
 * a·sigmoid(b) is one pass, TensorFlow's `SoftplusGrad`, where nobody else reads the sigmoid. x·sigmoid(x) stays: the
 * library makes one kernel of it itself.
 */
export const fuseSigmoidMul: Pass = (recording) => {
  const uses = countUses(recording);
  return editOps(recording, (op, editor) => {
    const gated = op.type === 'Mul' && isFloat(op.attrs) ? gate(op, editor, uses) : undefined;
    if (gated === undefined) return editor.keep(op);
    const result = outputOf(op);
    editor.replace(result, editor.add('SoftplusGrad', FLOAT, gated, editor.infoOf(result)));
  });
};

/** The factor, and what the sigmoid beside it is taken of. */
function gate(op: RecordedOp, editor: Editor, uses: ReadonlyMap<ValueId, number>): [ValueId, ValueId] | undefined {
  const [left, right] = [inputOf(op, 0), inputOf(op, 1)];
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

/** Splitting a tensor in two halves and joining them the other way round is a `Roll`: one copy instead of two. */
export const concatToRoll: Pass = (recording) =>
  editOps(recording, (op, editor) => {
    if (op.type !== 'ConcatV2' || op.inputs.length !== 3) return editor.keep(op);
    const [second, first, joinAxis] = [inputOf(op, 0), inputOf(op, 1), inputOf(op, 2)];
    const split = editor.producerOf(second);
    if (split?.type !== 'SplitV' || split.outputs.join() !== `${first},${second}`) return editor.keep(op);
    const [x, sizes, splitAxis] = [inputOf(split, 0), inputOf(split, 1), inputOf(split, 2)];
    const [half, other] = editor.constantInts(sizes) ?? [];
    const result = outputOf(op);
    const rank = editor.infoOf(result).shape.length;
    const axisOf = (value: ValueId) => ((editor.constantInts(value)?.[0] ?? Number.NaN) + rank) % rank;
    if (half === undefined || half !== other || axisOf(splitAxis) !== axisOf(joinAxis)) return editor.keep(op);
    const attrs = { T: split.attrs.T ?? typeAttr('float32'), Tshift: typeAttr('int32'), Taxis: typeAttr('int32') };
    const shift = editor.constant(Int32Array.of(half), []);
    editor.replace(result, editor.add('Roll', attrs, [x, shift, splitAxis], editor.infoOf(result)));
  });
