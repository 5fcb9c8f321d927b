import type { ValueId, ValueInfo } from '../recording.js';
import { isFloat, typeAttr } from './attrs.js';
import { castValue, isNarrowing } from './casts.js';
import { editOps, type Pass } from './edit.js';

/**
 * A softmax that a bfloat16 product reads, as attention's is, is taken in bfloat16: half as much is kept for the backward
 * pass. Its kernel sums in float32, and its scores come from a product in bfloat16, to which a mask adds 0 or something
 * far below every score, so that they lose nothing on the way in. Runs after `bf16Matmuls`.
 */
export const bf16Softmax: Pass = (recording) => {
  const read = new Set(recording.ops.flatMap((op) => (isNarrowing(op) ? [op.inputs[0] as ValueId] : [])));
  const halfOf = new Map<ValueId, ValueId>();
  return editOps(recording, (op, editor) => {
    const [input] = op.inputs as readonly [ValueId];
    const [result] = op.outputs as readonly [ValueId];
    const half = halfOf.get(input);
    if (op.type === 'Softmax' && isFloat(op.attrs) && read.has(result)) {
      const info: ValueInfo = { ...editor.infoOf(result), dtype: 'bfloat16' };
      const scores = castValue(editor, input, 'float32', 'bfloat16');
      const weights = editor.add('Softmax', { T: typeAttr('bfloat16') }, [scores], info);
      const whole = castValue(editor, weights, 'bfloat16', 'float32');
      halfOf.set(whole, weights);
      editor.replace(result, whole);
    } else if (isNarrowing(op) && half !== undefined) editor.replace(result, half);
    else editor.keep(op);
  });
};
