import type { Attrs, RecordedOp, ValueId, ValueInfo } from '../recording.js';
import { isFloat } from './attrs.js';
import { castValue } from './casts.js';
import { editOps, type Pass } from './edit.js';
import { isVectorProduct } from './vector-products.js';

const MATMULS = new Set(['MatMul', 'BatchMatMulV2', '_FusedMatMul']);

/**
 * Matrix products read their operands in bfloat16; everything else, the weights, the sums of the gradients
 * and products with a single vector, which are sums, stay float32. A value that several products read is cast once.
 */
export const bf16Matmuls: Pass = (recording) => {
  const halves = new Map<ValueId, ValueId>();
  return editOps(recording, (op, editor) => {
    const product = op.outputs[0] as ValueId;
    const isProduct = MATMULS.has(op.type) && isFloat(op.attrs) && !isVectorProduct(editor.infoOf(product).shape);
    if (!isProduct) return editor.keep(op);
    const operands = op.inputs.map((input) => {
      const half = halves.get(input) ?? castValue(editor, input, 'float32', 'bfloat16');
      halves.set(input, half);
      return half;
    });
    const attrs: Attrs = { ...op.attrs, T: { kind: 'type', value: 'bfloat16' } };
    const info: ValueInfo = { ...editor.infoOf(product), dtype: 'bfloat16' };
    const half: RecordedOp['outputs'][number] = editor.add(op.type, attrs, operands, info);
    editor.replace(product, castValue(editor, half, 'bfloat16', 'float32'));
  });
};
