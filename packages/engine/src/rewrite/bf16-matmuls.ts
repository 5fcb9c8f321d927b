import type { Attrs, RecordedOp, ValueId } from '../graph/recording.js';
import { DataType } from '../native/data-type.js';
import { type Editor, editOps, type Pass } from './edit.js';

const MATMULS = new Set(['MatMul', 'BatchMatMulV2', '_FusedMatMul']);

/**
 * Matrix products read their operands in bfloat16; everything else, the weights and the sums of the gradients
 * stay float32. A value that several products read is cast once.
 */
export const bf16Matmuls: Pass = (recording) => {
  const halves = new Map<ValueId, ValueId>();
  return editOps(recording, (op, editor) => {
    if (!MATMULS.has(op.type) || op.attrs.T?.value !== DataType.float32) return editor.keep(op);
    const operands = op.inputs.map((input) => {
      const half = halves.get(input) ?? cast(editor, input, DataType.float32, DataType.bfloat16);
      halves.set(input, half);
      return half;
    });
    const product = op.outputs[0] as ValueId;
    const attrs: Attrs = { ...op.attrs, T: { kind: 'type', value: DataType.bfloat16 } };
    const info = { ...editor.infoOf(product), dataType: DataType.bfloat16 };
    const half: RecordedOp['outputs'][number] = editor.add(op.type, attrs, operands, info);
    editor.replace(product, cast(editor, half, DataType.bfloat16, DataType.float32));
  });
};

function cast(editor: Editor, value: ValueId, from: number, to: number): ValueId {
  const attrs: Attrs = { SrcT: { kind: 'type', value: from }, DstT: { kind: 'type', value: to } };
  return editor.add('Cast', attrs, [value], { shape: editor.infoOf(value).shape, dataType: to });
}
