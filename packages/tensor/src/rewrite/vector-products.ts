import type { AttrValue, ValueId } from '../recording.js';
import { FLOAT, isFloat } from './attrs.js';
import { editOps, type Pass } from './edit.js';

/** Whether a product of this shape has a vector on one side: it is bound by memory, and is a sum rather than a map. */
export function isVectorProduct(shape: readonly number[]): boolean {
  return shape.length === 2 && shape.includes(1);
}

/** The product of a matrix and a vector is a plain `MatMul`, whose kernel is two to four times as fast there. */
export const vectorProducts: Pass = (recording) =>
  editOps(recording, (op, editor) => {
    const product = op.outputs[0] as ValueId;
    if (op.type !== 'BatchMatMulV2' || !isFloat(op.attrs) || !isVectorProduct(editor.infoOf(product).shape)) {
      return editor.keep(op);
    }
    const flag = (attr: AttrValue | undefined): AttrValue => ({ kind: 'bool', value: attr?.value === true });
    const attrs = { ...FLOAT, transpose_a: flag(op.attrs.adj_x), transpose_b: flag(op.attrs.adj_y) };
    editor.replace(product, editor.add('MatMul', attrs, op.inputs, editor.infoOf(product)));
  });
