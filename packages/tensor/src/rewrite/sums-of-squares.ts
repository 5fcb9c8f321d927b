import { elementCount } from '../program.js';
import type { ValueId } from '../recording.js';
import { FLOAT, isFloat, typeAttr } from './attrs.js';
import { editOps, type Pass } from './edit.js';

/**
 * The sum of the squares of a whole tensor is read off in one pass (`L2Loss`, half of it), and so is that along some
 * axes, or their mean (`EuclideanNorm`, its root): no tensor of squares is written.
 */
export const sumsOfSquares: Pass = (recording) =>
  editOps(recording, (op, editor) => {
    const [squares, axes] = op.inputs as readonly [ValueId, ValueId];
    const square = editor.producerOf(squares);
    const reduced = editor.constantInts(axes);
    const isSum = op.type === 'Sum' || op.type === 'Mean';
    if (!isSum || !isFloat(op.attrs) || square?.type !== 'Square' || reduced === undefined) return editor.keep(op);

    const [x] = square.inputs as readonly [ValueId];
    const result = op.outputs[0] as ValueId;
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
