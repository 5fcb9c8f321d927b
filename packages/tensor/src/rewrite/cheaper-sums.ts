import type { AttrValue } from '../ops.js';
import { elementCount } from '../program.js';
import { inputOf, outputOf, type ValueId } from '../recording.js';
import { itemAt } from '../required.js';
import { FLOAT, isFloat, typeAttr } from './casts.js';
import { editOps, type Pass } from './edit.js';
/**
 * A sum over every axis but the last, as the gradients of biases and gains are, is a product with a row of ones: the
 * kernel of the product walks along the rows in memory, that of the sum jumps between them.
 */
export const sumToMatmul: Pass = (recording) =>
  editOps(recording, (op, editor) => {
    if (op.type !== 'Sum' || !isFloat(op.attrs)) return editor.keep(op);
    const [x, axes] = [inputOf(op, 0), inputOf(op, 1)];
    const { shape } = editor.infoOf(x);
    const reduced = editor.constantInts(axes)?.toSorted((a, b) => a - b);
    const leading = Array.from({ length: shape.length - 1 }, (_, axis) => axis);
    if (leading.length === 0 || reduced?.join() !== leading.join()) return editor.keep(op);

    const width = itemAt(shape, shape.length - 1);
    const rows = elementCount(shape) / width;
    const reshape = (value: ValueId, to: readonly number[]) => {
      const target = editor.constant(Int32Array.from(to), [to.length]);
      const attrs = { ...FLOAT, Tshape: typeAttr('int32') };
      return editor.add('Reshape', attrs, [value, target], { shape: to, dtype: 'float32' });
    };
    const ones = editor.constant(new Float32Array(rows).fill(1), [1, rows]);
    const rows_RD = shape.length === 2 ? x : reshape(x, [rows, width]);
    const sum = editor.add('MatMul', FLOAT, [ones, rows_RD], { shape: [1, width], dtype: 'float32' });
    const result = outputOf(op);
    editor.replace(result, reshape(sum, editor.infoOf(result).shape));
  });

/**
 * The sum of the squares of a whole tensor is read off in one pass (`L2Loss`, half of it), and so is that along some
 * axes, or their mean (`EuclideanNorm`, its root): no tensor of squares is written.
 */
export const sumsOfSquares: Pass = (recording) =>
  editOps(recording, (op, editor) => {
    const isSum = op.type === 'Sum' || op.type === 'Mean';
    if (!isSum || !isFloat(op.attrs)) return editor.keep(op);
    const [squares, axes] = [inputOf(op, 0), inputOf(op, 1)];
    const square = editor.producerOf(squares);
    const reduced = editor.constantInts(axes);
    if (square?.type !== 'Square' || reduced === undefined) return editor.keep(op);

    const x = inputOf(square);
    const result = outputOf(op);
    const info = editor.infoOf(result);
    const { shape } = editor.infoOf(x);
    const scalar = (value: number) => editor.constant(Float32Array.of(value), []);
    const times = (value: ValueId, factor: number) => editor.add('Mul', FLOAT, [value, scalar(factor)], info);
    const perResult = op.type === 'Mean' ? elementCount(info.shape) / elementCount(shape) : 1;
    if (info.shape.length === 0 && reduced.length === shape.length) {
      const half = editor.add('L2Loss', FLOAT, [x], { shape: [], dtype: 'float32' });
      return editor.replace(result, times(half, 2 * perResult));
    }
    const attrs = { ...op.attrs, Tidx: typeAttr('int32') };
    const root = editor.add('EuclideanNorm', attrs, [x, axes], info);
    const sum = editor.add('Square', FLOAT, [root], info);
    editor.replace(result, perResult === 1 ? sum : times(sum, perResult));
  });

/** Whether a product of this shape has a vector on one side: it is bound by memory, and is a sum rather than a map. */
export function isVectorProduct(shape: readonly number[]): boolean {
  return shape.length === 2 && shape.includes(1);
}

/** The product of a matrix and a vector is a plain `MatMul`, whose kernel is two to four times as fast there. */
export const vectorProducts: Pass = (recording) =>
  editOps(recording, (op, editor) => {
    const product = outputOf(op);
    if (op.type !== 'BatchMatMulV2' || !isFloat(op.attrs) || !isVectorProduct(editor.infoOf(product).shape)) {
      return editor.keep(op);
    }
    const flag = (attr: AttrValue | undefined): AttrValue => ({ kind: 'bool', value: attr?.value === true });
    const attrs = { ...FLOAT, transpose_a: flag(op.attrs.adj_x), transpose_b: flag(op.attrs.adj_y) };
    editor.replace(product, editor.add('MatMul', attrs, op.inputs, editor.infoOf(product)));
  });
