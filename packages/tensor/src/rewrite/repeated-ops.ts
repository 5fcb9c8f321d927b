import type { DType } from '../dtype.js';
import type { RecordedOp, Recording, ValueId } from '../recording.js';
import { isRealType } from './attrs.js';
import { isWidening } from './casts.js';
import type { Recompute } from './recompute.js';

const RESIDENT = new Set(['Const', 'Placeholder']);
/** What a resident value may pass through on its way to an op that reads it as a weight. */
const SAME_NUMBERS = new Set(['Reshape', 'Cast']);

/** What the repeated pass of a block needs to know of an op and of a value. */
export interface Repetition {
  /** Whether an op of a block is computed a second time when the backward pass reads it. */
  isRepeated(op: RecordedOp): boolean;
  /** Whether a value is there anyway: a constant, an input, a variable, or one of these in another shape or precision. */
  isResident(value: ValueId): boolean;
}

export function repetition({ ops, values }: Recording, mode: Recompute): Repetition {
  const producer = new Map(ops.flatMap((op) => op.outputs.map((output) => [output, op] as const)));
  const silus = siluValues(ops);
  const isResident = (value: ValueId): boolean => {
    const op = producer.get(value);
    if (op === undefined) return false;
    return RESIDENT.has(op.type) || (SAME_NUMBERS.has(op.type) && isResident(op.inputs[0] as ValueId));
  };
  const isCheap = (op: RecordedOp) => isWidening(op) || op.outputs.some((output) => silus.has(output));
  const isWeighing = ({ type, inputs }: RecordedOp) => type.includes('MatMul') && inputs.some(isResident);
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
