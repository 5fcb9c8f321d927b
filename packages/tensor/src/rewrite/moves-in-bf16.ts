import type { RecordedOp, ValueId, ValueInfo } from '../recording.js';
import { castValue, isNarrowing, isWidening } from './casts.js';
import { countUses, type Editor, editOps, type Pass } from './edit.js';

const MOVES = new Set(['Reshape', 'Transpose']);

/**
 * What is moved and narrowed to bfloat16 is narrowed first, and what is widened and moved is widened last: half as many
 * bytes move, and the casts come to stand beside the arithmetic. Runs after `bf16Matmuls`.
 */
export const movesInBf16: Pass = (recording) => {
  const uses = countUses(recording);
  return editOps(recording, (op, editor) => {
    const [input] = op.inputs as readonly [ValueId];
    const [output] = op.outputs as readonly [ValueId];
    const source = op.after === undefined ? editor.producerOf(input) : undefined;
    if (source === undefined) editor.keep(op);
    else if (isNarrowing(op)) {
      if (isWidening(source)) editor.replace(output, source.inputs[0] as ValueId);
      else if (isMove(source) && uses.get(input) === 1) editor.replace(output, narrowed(input, source, editor));
      else editor.keep(op);
    } else if (isMove(op) && isWidening(source))
      editor.replace(output, castValue(editor, moved(op, source.inputs[0] as ValueId, editor), 'bfloat16', 'float32'));
    else editor.keep(op);
  });

  /** The moves that lead to a value, made in bfloat16. */
  function narrowed(value: ValueId, move: RecordedOp, editor: Editor): ValueId {
    const [from] = move.inputs as readonly [ValueId];
    const before = editor.producerOf(from);
    const half = () => {
      if (before !== undefined && isWidening(before)) return before.inputs[0] as ValueId;
      if (before !== undefined && isMove(before) && uses.get(from) === 1) return narrowed(from, before, editor);
      return castValue(editor, from, 'float32', 'bfloat16');
    };
    return moved({ ...move, outputs: [value] }, half(), editor);
  }
};

/** The same move of a bfloat16 value. */
function moved({ type, attrs, inputs, outputs }: RecordedOp, half: ValueId, editor: Editor): ValueId {
  const info: ValueInfo = { ...editor.infoOf(outputs[0] as ValueId), dtype: 'bfloat16' };
  const T = { kind: 'type', value: 'bfloat16' } as const;
  return editor.add(type, { ...attrs, T }, [half, ...inputs.slice(1)], info);
}

function isMove({ type, after }: RecordedOp): boolean {
  return MOVES.has(type) && after === undefined;
}
