import { refuse } from '@weft/common';
import { ATTENTION, ATTENTION_GRADIENT, attentionGradientInputs, attentionInputs } from '../attention.js';
import type { DType } from '../dtype.js';
import type { Attrs, OpType } from '../ops.js';
import {
  type AttentionOps,
  causalMask,
  plainAttention,
  plainAttentionGradient,
  type SavedAttention,
  segmentMask,
} from '../plain-attention.js';
import { elementCount } from '../program.js';
import { inputOf, outputOf, type RecordedOp, type ValueId } from '../recording.js';
import { itemAt } from '../required.js';
import { FLOAT, typeAttr } from './casts.js';
import { type Editor, editOps, type Pass } from './edit.js';

/**
 * Attention and its gradient become products, a softmax and what lies between, the very ops that tfjs runs where nothing
 * is recorded. A mask is written once, where its segments are first known. For backends without a kernel of their own.
 * @param longest positions of a sequence whose attention is expanded, at most; default: of any
 */
export function expandAttention(longest = Number.POSITIVE_INFINITY): Pass {
  return (recording) => {
    const maskOf = (segments_BT: ValueId, isCausal: boolean) => `${segments_BT} ${isCausal}`;
    const wanted = new Set(
      recording.ops.flatMap((op) => {
        const { segments_BT } = attentionInputs(op.type === ATTENTION ? op.inputs : [0, 0, 0]);
        return segments_BT === undefined ? [] : [maskOf(segments_BT, isCausal(op))];
      }),
    );
    const masks = new Map<string, ValueId>();
    /** What the gradient needs again, by the log-sum-exp of the forward pass, which nothing else reads. */
    const savedOf = new Map<ValueId, SavedAttention<ValueId>>();
    return editOps(recording, (op, editor) => {
      const ops = opsOf(editor);
      const length = ATTENTION_OPS.has(op.type) ? itemAt(editor.infoOf(inputOf(op)).shape, 1) : 0;
      if (length === 0 || length > longest) {
        editor.keep(op);
        for (const output of op.outputs) {
          for (const causal of [true, false]) {
            const name = maskOf(output, causal);
            if (wanted.has(name)) masks.set(name, segmentMask(ops, output, causal));
          }
        }
      } else if (op.type === ATTENTION) {
        const { q_BTHC, k_BTJC, v_BTJC, segments_BT } = attentionInputs(op.inputs);
        const causalOnly = isCausal(op) && segments_BT === undefined ? causalMask(ops, length) : undefined;
        const mask = segments_BT === undefined ? causalOnly : masks.get(maskOf(segments_BT, isCausal(op)));
        const { read_BTHC, saved } = plainAttention(ops, q_BTHC, k_BTJC, v_BTJC, scaleOf(op), mask);
        savedOf.set(outputOf(op, 1), saved);
        editor.replace(outputOf(op), read_BTHC);
      } else {
        const { dRead_BTHC, logSumExp_BHT } = attentionGradientInputs(op.inputs);
        const saved = savedOf.get(logSumExp_BHT) ?? refuse('internal', 'a gradient of attention has no forward pass');
        const gradients = plainAttentionGradient(ops, dRead_BTHC, saved, scaleOf(op));
        for (const [index, gradient] of gradients.entries()) editor.replace(outputOf(op, index), gradient);
      }
    });
  };
}

const ATTENTION_OPS: ReadonlySet<OpType> = new Set<OpType>([ATTENTION, ATTENTION_GRADIENT]);

function isCausal({ attrs: { causal } }: RecordedOp): boolean {
  return causal?.value === true;
}

function scaleOf({ attrs: { scale } }: RecordedOp): number {
  return scale?.kind === 'float' ? scale.value : refuse('internal', 'attention has no scale');
}

/** Ops as tfjs-node's kernels record them: the same constants, before the op that reads them. */
function opsOf(editor: Editor): AttentionOps<ValueId> {
  const shapeOf = (x: ValueId) => editor.infoOf(x).shape;
  const ints = (values: readonly number[]) => editor.constant(Int32Array.from(values), [values.length]);
  const binary = (type: OpType, x: ValueId, y: ValueId, dtype: DType = 'float32', attrs: Attrs = FLOAT) =>
    editor.add(type, attrs, [x, y], { shape: broadcast(shapeOf(x), shapeOf(y)), dtype });
  const float = (type: OpType, attrs: Attrs, inputs: readonly ValueId[], shape: readonly number[]) =>
    editor.add(type, { ...FLOAT, ...attrs }, inputs, { shape, dtype: 'float32' });
  return {
    shapeOf,
    constant: (elements, shape) => editor.constant(elements, shape),
    add: (x, y) => binary('Add', x, y),
    sub: (x, y) => binary('Sub', x, y),
    mul: (x, y) => binary('Mul', x, y),
    equal: (x, y) => binary('Equal', x, y, 'bool'),
    lessEqual: (x, y) => binary('LessEqual', x, y, 'bool'),
    and: (x, y) => binary('LogicalAnd', x, y, 'bool', {}),
    toFloat: (x) => {
      const attrs = {
        SrcT: typeAttr('bool'),
        DstT: typeAttr('float32'),
        Truncate: { kind: 'bool', value: false },
      } as const;
      return editor.add('Cast', attrs, [x], { shape: shapeOf(x), dtype: 'float32' });
    },
    reshape: (x, shape) => {
      const known = elementCount(shape.filter((size) => size !== -1));
      const whole = shape.map((size) => (size === -1 ? elementCount(shapeOf(x)) / known : size));
      return float('Reshape', { Tshape: typeAttr('int32') }, [x, ints(shape)], whole);
    },
    transpose: (x, axes) =>
      float(
        'Transpose',
        { Tperm: typeAttr('int32') },
        [x, ints(axes)],
        axes.map((axis) => itemAt(shapeOf(x), axis)),
      ),
    matMul: (x, y, { left = false, right = false } = {}) => {
      const [a, b] = [shapeOf(x), shapeOf(y)];
      const attrs = { adj_x: { kind: 'bool', value: left }, adj_y: { kind: 'bool', value: right } } as const;
      const shape = [...a.slice(0, -2), itemAt(a, a.length - (left ? 1 : 2)), itemAt(b, b.length - (right ? 2 : 1))];
      return float('BatchMatMulV2', attrs, [x, y], shape);
    },
    softmax: (x) => float('Softmax', {}, [x], shapeOf(x)),
    sumLast: (x) => {
      const shape = shapeOf(x);
      const attrs = { keep_dims: { kind: 'bool', value: true }, Tidx: typeAttr('int32') } as const;
      return float('Sum', attrs, [x, ints([shape.length - 1])], shape.with(-1, 1));
    },
  };
}

function broadcast(a: readonly number[], b: readonly number[]): readonly number[] {
  const rank = Math.max(a.length, b.length);
  const sizeAt = (shape: readonly number[], axis: number) => shape[axis - rank + shape.length] ?? 1;
  return Array.from({ length: rank }, (_, axis) => Math.max(sizeAt(a, axis), sizeAt(b, axis)));
}
