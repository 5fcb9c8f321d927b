import type { RecordedOp, ValueId } from '../graph/recording.js';
import { DataType } from '../native/data-type.js';
import { BLOCK_GRADIENT } from '../recomputable.js';
import { typeAttr } from './attrs.js';
import { type Editor, editOps, type Pass } from './edit.js';

/**
 * What is computed a second time in the backward pass instead of kept for it, of the blocks marked as `recomputable`:
 * `none`; `selective`, all but products with a weight; `full`, everything, so that of a block its input alone is kept
 * (Chen et al., 2016; Korthikanti et al., 2022).
 */
export type Recompute = 'none' | 'selective' | 'full';

const RESIDENT = new Set(['Const', 'Placeholder']);
/** What a resident value may pass through on its way to an op that reads it as a weight. */
const SAME_NUMBERS = new Set(['Reshape', 'Cast']);

/**
 * Where the gradient of a block's result arrives, the ops of the block that the backward pass reads are repeated, on the
 * values that the block read from outside. These pass a barrier: an identity that waits for the gradient by a control
 * input, so that nothing is repeated early, and TensorFlow's own optimizer cannot merge it with the forward pass.
 *
 * What a bfloat16 product gave is widened to float32 again in every mode: kept in bfloat16 it takes half the memory. Runs
 * after `bf16Matmuls`.
 */
export function recompute(mode: Recompute): Pass {
  return (recording) => {
    const producer = new Map<ValueId, RecordedOp>();
    /** By block: the gradient of its result, once it has arrived. */
    const arrived = new Map<number, ValueId>();
    /** By block: what stands for a value in the repeated pass. */
    const repeated = new Map<number, Map<ValueId, ValueId>>();
    return editOps(recording, (op, editor) => {
      for (const output of op.outputs) producer.set(output, op);
      if (op.type === BLOCK_GRADIENT) {
        const [gradient] = op.inputs as readonly [ValueId];
        const block = blockNumber(op);
        arrived.set(block, firstElement(gradient, editor));
        repeated.set(block, new Map());
        return editor.replace(op.outputs[0] as ValueId, gradient);
      }

      /** The value as the repeated pass of a block sees it. */
      const within = (block: number, value: ValueId): ValueId => {
        const source = producer.get(value);
        const gradient = arrived.get(block);
        const stands = repeated.get(block);
        if (source === undefined || gradient === undefined || stands === undefined) return value;
        if (isResident(value, producer)) return value;
        if (!stands.has(value)) {
          const isRepeated = source.block === block && !isKept(source, mode, producer, editor);
          const again: Omit<RecordedOp, 'outputs'> = isRepeated
            ? { type: source.type, attrs: source.attrs, inputs: source.inputs.map((input) => within(block, input)) }
            : { type: 'Identity', attrs: {}, inputs: [value], after: [gradient] };
          const originals = isRepeated ? source.outputs : [value];
          const outputs = editor.addLike(originals, again);
          for (const [i, original] of originals.entries()) stands.set(original, outputs[i] as ValueId);
        }
        return stands.get(value) as ValueId;
      };
      const late = (value: ValueId): ValueId => {
        const source = producer.get(value);
        const isRepeated =
          source?.block !== undefined && arrived.has(source.block) && !isKept(source, mode, producer, editor);
        return isRepeated ? within(source.block, value) : value;
      };
      editor.keep(op.block !== undefined ? op : { ...op, inputs: op.inputs.map(late) });
    });
  };
}

/**
 * What the barriers wait for instead of the gradient itself: TensorFlow's optimizer does not sum gradients in the same
 * order where others wait for the sum.
 */
function firstElement(value: ValueId, editor: Editor): ValueId {
  const { shape, dataType } = editor.infoOf(value);
  const begin = editor.constant(new Int32Array(shape.length), [shape.length]);
  const size = editor.constant(new Int32Array(shape.length).fill(1), [shape.length]);
  const attrs = { T: { kind: 'type', value: dataType }, Index: typeAttr('int32') } as const;
  return editor.add('Slice', attrs, [value, begin, size], { shape: shape.map(() => 1), dataType });
}

function blockNumber({ attrs: { block } }: RecordedOp): number {
  return block?.kind === 'int' ? block.value : -1;
}

/** Whether an op of a block is not computed a second time. */
function isKept(
  op: RecordedOp,
  mode: Recompute,
  producer: ReadonlyMap<ValueId, RecordedOp>,
  { infoOf }: Editor,
): boolean {
  const isResidentNow = (value: ValueId) => isResident(value, producer);
  if (op.outputs.every((output) => isResidentNow(output) || !isReal(infoOf(output).dataType))) return true;
  if (isWidening(op)) return false;
  return mode === 'none' || (mode === 'selective' && op.type.includes('MatMul') && op.inputs.some(isResidentNow));
}

function isWidening({ type, attrs }: RecordedOp): boolean {
  return type === 'Cast' && attrs.SrcT?.value === DataType.bfloat16;
}

/** What is not is a decision, such as a router's: small, and the backward pass must know the very same one. */
function isReal(dataType: number): boolean {
  return dataType === DataType.float32 || dataType === DataType.bfloat16;
}

/** Whether a value is there anyway: a constant, an input, a variable, or one of these in another shape or precision. */
function isResident(value: ValueId, producer: ReadonlyMap<ValueId, RecordedOp>): boolean {
  const op = producer.get(value);
  if (op === undefined) return false;
  return RESIDENT.has(op.type) || (SAME_NUMBERS.has(op.type) && isResident(op.inputs[0] as ValueId, producer));
}
