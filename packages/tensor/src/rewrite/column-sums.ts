import { elementCount } from '../program.js';
import type { ValueId } from '../recording.js';
import { FLOAT, isFloat, typeAttr } from './attrs.js';
import { editOps, type Pass } from './edit.js';

/**
 * A sum over every axis but the last, as the gradients of biases and gains are, is a product with a row of ones: the
 * kernel of the product walks along the rows in memory, that of the sum jumps between them.
 */
export const columnSums: Pass = (recording) =>
  editOps(recording, (op, editor) => {
    const [x, axes] = op.inputs as readonly [ValueId, ValueId];
    if (op.type !== 'Sum' || !isFloat(op.attrs)) return editor.keep(op);
    const { shape } = editor.infoOf(x);
    const reduced = editor.constantInts(axes)?.toSorted((a, b) => a - b);
    const leading = Array.from({ length: shape.length - 1 }, (_, axis) => axis);
    if (leading.length === 0 || reduced?.join() !== leading.join()) return editor.keep(op);

    const width = shape.at(-1) as number;
    const rows = elementCount(shape) / width;
    const reshape = (value: ValueId, to: readonly number[]) => {
      const target = editor.constant(Int32Array.from(to), [to.length]);
      const attrs = { ...FLOAT, Tshape: typeAttr('int32') };
      return editor.add('Reshape', attrs, [value, target], { shape: to, dtype: 'float32' });
    };
    const ones = editor.constant(new Float32Array(rows).fill(1), [1, rows]);
    const rows_RD = shape.length === 2 ? x : reshape(x, [rows, width]);
    const sum = editor.add('MatMul', FLOAT, [ones, rows_RD], { shape: [1, width], dtype: 'float32' });
    const result = op.outputs[0] as ValueId;
    editor.replace(result, reshape(sum, editor.infoOf(result).shape));
  });
