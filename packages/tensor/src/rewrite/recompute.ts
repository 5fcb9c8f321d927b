import { ATTENTION } from '../attention.js';
import type { DType } from '../dtype.js';
import type { OpType } from '../ops.js';
import { BLOCK_GRADIENT } from '../recomputable.js';
import { inputOf, outputOf, type RecordedOp, type Recording, type ValueId } from '../recording.js';
import { itemAt, required } from '../required.js';
import { isRealType, isWidening, typeAttr } from './casts.js';
import { type Editor, editOps, type Pass } from './edit.js';
/**
 * What is computed a second time in the backward pass instead of kept for it, of the blocks marked as `recomputable`:
 * `selective`, all but products with a weight, and attention where it is one op; `full`, everything, so that of a block its input alone is kept (Chen et
 * al., 2016; Korthikanti et al., 2022); `none`, only what saves much and costs about a hundredth of a step: what a
 * bfloat16 product gave is widened to float32 again, and x·sigmoid(x) is taken of x again.
 */
export type Recompute = 'none' | 'selective' | 'full';

export interface RecomputeOptions {
  /**
   * Whether the second pass and the gradients of a block read its variables through the barrier too: of a variable that
   * is cut over devices, what was gathered for the first pass is then dropped and gathered again, instead of kept for all
   * blocks at once.
   */
  readonly readsVariablesAgain?: boolean;
}

/** The second pass over a block. */
interface SecondPass {
  /** The barriers run after the op of this value. */
  readonly after: ValueId;
  /** What stands for a value of the first pass. */
  readonly stands: Map<ValueId, ValueId>;
}

/**
 * Where the gradient of a block's result arrives, the ops of the block that the backward pass reads are repeated, on the
 * values that the block read from outside. These pass a barrier: an identity that waits for the gradient by a control
 * input, so that nothing is repeated early, and TensorFlow's own optimizer cannot merge it with the first pass. Runs after
 * `bf16Matmuls`.
 */
export function recompute(mode: Recompute, { readsVariablesAgain = false }: RecomputeOptions = {}): Pass {
  return (recording) => {
    const { isRepeated, isResident } = recomputationRules(recording, mode);
    const readers = readsVariablesAgain ? blocksByVariable(recording) : new Map<ValueId, number>();
    const producer = new Map<ValueId, RecordedOp>();
    const passes = new Map<number, SecondPass>();
    return editOps(recording, (op, editor) => {
      for (const output of op.outputs) producer.set(output, op);
      if (op.type === BLOCK_GRADIENT) {
        const gradient = inputOf(op);
        passes.set(blockNumber(op), { after: firstElement(gradient, editor), stands: new Map() });
        return editor.replace(outputOf(op), gradient);
      }

      /** A value that is there anyway: it, or of a variable that a block reads the one behind the barrier. */
      const residentAgain = (pass: SecondPass, value: ValueId): ValueId => {
        const known = pass.stands.get(value);
        const source = producer.get(value);
        if (known !== undefined || source === undefined) return known ?? value;
        if (!readers.has(value)) return value;
        const { type, attrs } = source;
        const [again] = SAME_NUMBERS.has(type)
          ? editor.addLike([value], { type, attrs, inputs: source.inputs.map((input) => residentAgain(pass, input)) })
          : editor.addLike([value], { type: 'Identity', attrs: {}, inputs: [value], after: [pass.after] });
        pass.stands.set(value, again ?? value);
        return again ?? value;
      };
      const again = (block: number, { after, stands }: SecondPass, value: ValueId): ValueId => {
        const known = stands.get(value);
        const source = producer.get(value);
        if (known !== undefined || source === undefined) return known ?? value;
        if (isResident(value)) return residentAgain({ after, stands }, value);
        if (source.block === block && isRepeated(source)) {
          const inputs = source.inputs.map((input) => again(block, { after, stands }, input));
          const outputs = editor.addLike(source.outputs, { type: source.type, attrs: source.attrs, inputs });
          for (const [i, output] of source.outputs.entries()) stands.set(output, itemAt(outputs, i));
        } else {
          const kept = editor.addLike([value], { type: 'Identity', attrs: {}, inputs: [value], after: [after] });
          stands.set(value, itemAt(kept, 0));
        }
        return required(stands, value);
      };
      const seenLate = (value: ValueId): ValueId => {
        const source = producer.get(value);
        const reading = passes.get(readers.get(value) ?? -1);
        if (reading !== undefined) return residentAgain(reading, value);
        const pass = source?.block === undefined ? undefined : passes.get(source.block);
        if (source?.block === undefined || pass === undefined || !isRepeated(source)) return value;
        return again(source.block, pass, value);
      };
      editor.keep(op.block === undefined ? { ...op, inputs: op.inputs.map(seenLate) } : op);
    });
  };
}

/** By variable that a block reads, and by what it is in another shape or precision: the block, the last one of several. */
function blocksByVariable({ ops }: Recording): ReadonlyMap<ValueId, number> {
  const variables = new Set(ops.flatMap(({ variable, outputs }) => (variable === undefined ? [] : outputs)));
  const producer = new Map(ops.flatMap((op) => op.outputs.map((output) => [output, op] as const)));
  const blocks = new Map<ValueId, number>();
  const note = (value: ValueId, block: number): boolean => {
    const source = producer.get(value);
    const isVariable =
      variables.has(value) || (source !== undefined && SAME_NUMBERS.has(source.type) && note(inputOf(source), block));
    if (isVariable) blocks.set(value, block);
    return isVariable;
  };
  for (const { block, inputs } of ops) if (block !== undefined) for (const input of inputs) note(input, block);
  return blocks;
}

function blockNumber({ attrs: { block } }: RecordedOp): number {
  return block?.kind === 'int' ? block.value : -1;
}

/**
 * What the barriers wait for instead of the gradient itself: TensorFlow's optimizer does not sum gradients in the same
 * order where others wait for the sum.
 */
function firstElement(value: ValueId, editor: Editor): ValueId {
  const { shape, dtype } = editor.infoOf(value);
  const begin = editor.constant(new Int32Array(shape.length), [shape.length]);
  const size = editor.constant(new Int32Array(shape.length).fill(1), [shape.length]);
  const attrs = { T: { kind: 'type', value: dtype }, Index: typeAttr('int32') } as const;
  return editor.add('Slice', attrs, [value, begin, size], { shape: shape.map(() => 1), dtype });
}

const RESIDENT: ReadonlySet<OpType> = new Set<OpType>(['Const', 'Placeholder']);
/** What a resident value may pass through on its way to an op that reads it as a weight. */
const SAME_NUMBERS: ReadonlySet<OpType> = new Set<OpType>(['Reshape', 'Cast']);

/** What the repeated pass of a block needs to know of an op and of a value. */
interface RecomputationRules {
  /** Whether an op of a block is computed a second time when the backward pass reads it. */
  isRepeated(op: RecordedOp): boolean;
  /** Whether a value is there anyway: a constant, an input, a variable, or one of these in another shape or precision. */
  isResident(value: ValueId): boolean;
}

function recomputationRules({ ops, values }: Recording, mode: Recompute): RecomputationRules {
  const producer = new Map(ops.flatMap((op) => op.outputs.map((output) => [output, op] as const)));
  const silus = siluValues(ops);
  const isResident = (value: ValueId): boolean => {
    const op = producer.get(value);
    if (op === undefined) return false;
    return RESIDENT.has(op.type) || (SAME_NUMBERS.has(op.type) && isResident(inputOf(op)));
  };
  const isCheap = (op: RecordedOp) => isWidening(op) || op.outputs.some((output) => silus.has(output));
  const isWeighing = ({ type, inputs }: RecordedOp) =>
    type === ATTENTION || (type.includes('MatMul') && inputs.some(isResident));
  return {
    isResident,
    isRepeated: (op) => {
      if (op.outputs.every((output) => isResident(output) || isDecision(values.get(output)?.dtype))) return false;
      return isCheap(op) || mode === 'full' || (mode === 'selective' && !isWeighing(op));
    },
  };
}

/** Not a real number, such as a router's choice: small, and the backward pass must know the very same one. */
function isDecision(dtype: DType | undefined): boolean {
  return !isRealType(dtype);
}

/** Every x·sigmoid(x) with its sigmoid: the library computes both in one kernel. */
function siluValues(ops: readonly RecordedOp[]): ReadonlySet<ValueId> {
  const argumentOf = new Map(
    ops.flatMap(({ type, inputs: [x], outputs: [y] }) => (type === 'Sigmoid' ? [[y, x]] : [])),
  );
  const sigmoidOf = ({ type, inputs }: RecordedOp) => {
    const [a, b] = type === 'Mul' ? inputs : [];
    if (a === undefined || b === undefined) return undefined;
    if (argumentOf.get(b) === a) return b;
    return argumentOf.get(a) === b ? a : undefined;
  };
  return new Set(
    ops.flatMap((op) => {
      const sigmoid = sigmoidOf(op);
      return sigmoid === undefined ? [] : [sigmoid, ...op.outputs];
    }),
  );
}
