import { ATTENTION, ATTENTION_GRADIENT } from '../attention.js';
import type { Attrs, OpType } from '../ops.js';
import { inputOf, outputOf, type RecordedOp, resultsOf, type ValueId, type ValueInfo } from '../recording.js';
import { itemAt } from '../required.js';
import { castValue, isFloat, isNarrowing, isWidening, typeAttr } from './casts.js';
import { isVectorProduct } from './cheaper-sums.js';
import { countUses, type Editor, editOps, type Pass } from './edit.js';

const MATMULS: ReadonlySet<OpType> = new Set<OpType>(['MatMul', 'BatchMatMulV2']);

/** Inputs of attention and of its gradient that stay float32: segments and log-sum-exp. */
const KEPT: Readonly<Partial<Record<OpType, readonly number[]>>> = { [ATTENTION]: [3], [ATTENTION_GRADIENT]: [4, 6] };

/**
 * Matrix products and attention read their operands in bfloat16; everything else, the weights, the sums of the gradients
 * and products with a single vector, which are sums, stay float32. A value that several products read is cast once.
 */
export const bf16Matmuls: Pass = (recording) => {
  const halves = new Map<ValueId, ValueId>();
  return editOps(recording, (op, editor) => {
    const product = outputOf(op);
    const kept = KEPT[op.type];
    const isProduct = MATMULS.has(op.type) && isFloat(op.attrs) && !isVectorProduct(editor.infoOf(product).shape);
    if (!isProduct && kept === undefined) return editor.keep(op);
    const operands = op.inputs.map((input, index) => {
      if (kept?.includes(index)) return input;
      const half = halves.get(input) ?? castValue(editor, input, 'float32', 'bfloat16');
      halves.set(input, half);
      return half;
    });
    const attrs: Attrs = { ...op.attrs, T: typeAttr('bfloat16') };
    const isWhole = (index: number) => op.type === ATTENTION && index === 1;
    const infos = op.outputs.map((output, index): ValueInfo => {
      return isWhole(index) ? editor.infoOf(output) : { ...editor.infoOf(output), dtype: 'bfloat16' };
    });
    const results = editor.addMany(op.type, attrs, operands, infos);
    for (const [index, output] of op.outputs.entries()) {
      const half = itemAt(results, index);
      const whole = isWhole(index) ? half : castValue(editor, half, 'bfloat16', 'float32');
      if (kept !== undefined && !isWhole(index)) halves.set(whole, half);
      editor.replace(output, whole);
    }
  });
};

/** What gradients pass through on their way out. */
const GATHERING: ReadonlySet<OpType> = new Set<OpType>(['Reshape', 'Transpose', 'ConcatV2', 'AddN', 'AddV2', 'Add']);

/**
 * Products that leave a phase, as gradients of weights do, are given in the float32 in which they were summed
 * (attribute `Tout`) instead of being rounded to bfloat16 first: where a mesh cuts the batch, its devices then add their parts
 * in float32 too. Runs after `bf16Matmuls`. Not for TensorFlow, whose kernel it is not.
 */
export const float32Gradients: Pass = (recording) => {
  const uses = countUses(recording);
  const leaving = new Set(resultsOf(recording));
  const wide = new Set<ValueId>();
  for (const op of recording.ops.toReversed()) {
    if (!op.outputs.some((output) => leaving.has(output))) continue;
    if (GATHERING.has(op.type)) for (const input of op.inputs) leaving.add(input);
    else if (isWidening(op) && uses.get(inputOf(op)) === 1) wide.add(inputOf(op));
  }
  const widened = new Set<ValueId>();
  return editOps(recording, (op, editor) => {
    const output = outputOf(op);
    if (MATMULS.has(op.type) && wide.has(output)) {
      const info: ValueInfo = { ...editor.infoOf(output), dtype: 'float32' };
      const whole = editor.add(op.type, { ...op.attrs, Tout: typeAttr('float32') }, op.inputs, info);
      widened.add(whole);
      editor.replace(output, whole);
    } else if (isWidening(op) && widened.has(inputOf(op))) editor.replace(output, inputOf(op));
    else editor.keep(op);
  });
};

/**
 * A softmax that a bfloat16 product reads, as attention's is, is taken in bfloat16: half as much is kept for the backward
 * pass. Its kernel sums in float32, and its scores come from a product in bfloat16, to which a mask adds 0 or something
 * far below every score, so that they lose nothing on the way in. Runs after `bf16Matmuls`.
 */
export const bf16Softmax: Pass = (recording) => {
  const read = new Set(recording.ops.flatMap((op) => (isNarrowing(op) ? [inputOf(op)] : [])));
  const halfOf = new Map<ValueId, ValueId>();
  return editOps(recording, (op, editor) => {
    const result = outputOf(op);
    const half = isNarrowing(op) ? halfOf.get(inputOf(op)) : undefined;
    if (op.type === 'Softmax' && isFloat(op.attrs) && read.has(result)) {
      const input = inputOf(op);
      const info: ValueInfo = { ...editor.infoOf(result), dtype: 'bfloat16' };
      const scores = castValue(editor, input, 'float32', 'bfloat16');
      const weights = editor.add('Softmax', { T: typeAttr('bfloat16') }, [scores], info);
      const whole = castValue(editor, weights, 'bfloat16', 'float32');
      halfOf.set(whole, weights);
      editor.replace(result, whole);
    } else if (half !== undefined) editor.replace(result, half);
    else editor.keep(op);
  });
};

const MOVES: ReadonlySet<OpType> = new Set<OpType>(['Reshape', 'Transpose']);

/**
 * What is moved and narrowed to bfloat16 is narrowed first, and what is widened and moved is widened last: half as many
 * bytes move, and the casts come to stand beside the arithmetic. Runs after `bf16Matmuls`.
 */
export const sinkCasts: Pass = (recording) => {
  const uses = countUses(recording);
  return editOps(recording, (op, editor) => {
    const [input] = op.inputs;
    const output = outputOf(op);
    const source = input === undefined || op.after !== undefined ? undefined : editor.producerOf(input);
    if (input === undefined || source === undefined) editor.keep(op);
    else if (isNarrowing(op)) {
      if (isWidening(source)) editor.replace(output, inputOf(source));
      else if (isMove(source) && uses.get(input) === 1) editor.replace(output, narrowed(input, source, editor));
      else editor.keep(op);
    } else if (isMove(op) && isWidening(source))
      editor.replace(output, castValue(editor, moved(op, inputOf(source), editor), 'bfloat16', 'float32'));
    else editor.keep(op);
  });

  /** The moves that lead to a value, made in bfloat16. */
  function narrowed(value: ValueId, move: RecordedOp, editor: Editor): ValueId {
    const from = inputOf(move);
    const before = editor.producerOf(from);
    const half = () => {
      if (before !== undefined && isWidening(before)) return inputOf(before);
      if (before !== undefined && isMove(before) && uses.get(from) === 1) return narrowed(from, before, editor);
      return castValue(editor, from, 'float32', 'bfloat16');
    };
    return moved({ ...move, outputs: [value] }, half(), editor);
  }
};

/** The same move of a bfloat16 value. */
function moved(op: RecordedOp, half: ValueId, editor: Editor): ValueId {
  const info: ValueInfo = { ...editor.infoOf(outputOf(op)), dtype: 'bfloat16' };
  const attrs: Attrs = { ...op.attrs, T: typeAttr('bfloat16') };
  return editor.add(op.type, attrs, [half, ...op.inputs.slice(1)], info);
}

function isMove({ type, after }: RecordedOp): boolean {
  return MOVES.has(type) && after === undefined;
}
