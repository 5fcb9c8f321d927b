import type { OpType } from '../ops.js';
import { elementCount } from '../program.js';
import { inputOf, LOOP, outputOf, type RecordedOp, type Recording, resultsOf, type ValueId } from '../recording.js';
import { itemAt, required } from '../required.js';
import { isRealType, isWidening } from './casts.js';
import { Clusters } from './clusters.js';
import type { Pass } from './edit.js';
import { dropDeadOps } from './redundant-ops.js';

/** Elements. In smaller tensors nothing is won, and every loop takes XLA some 40 ms to compile. */
const SMALLEST = 2 ** 18;

/** Computed element by element. */
const ARITHMETIC: ReadonlySet<OpType> = new Set<OpType>([
  'Add',
  'AddV2',
  'Cast',
  'Mul',
  'Neg',
  'RealDiv',
  'Sigmoid',
  'SoftplusGrad',
  'Square',
  'Sub',
]);
/** Moves elements on the way of a chain. */
const MOVES: ReadonlySet<OpType> = new Set<OpType>(['Reshape', 'Roll']);

/**
 * Chains of elementwise ops over large tensors become loops, which XLA compiles: one pass over memory instead of one for
 * each op, with what lies between in registers. A loop may have several results, and widens the bfloat16 values that it
 * reads itself.
 */
export const fuseElementwise: Pass = (recording) => {
  const { ops } = recording;
  const producer = new Map(ops.flatMap((op, index) => op.outputs.map((value) => [value, index] as const)));
  const producerOf = (value: ValueId) => required(producer, value);
  const sourceOf = (value: ValueId) => itemAt(ops, producerOf(value));
  const isLink = linksOf(recording);
  const sources = sourcesOf(recording, producerOf);
  const chains = chainsOf(recording, sources, isLink);
  const leaves = leavingOf(recording, chains);

  const rewritten: RecordedOp[] = [];
  const standsFor = new Map<ValueId, ValueId>();
  const written = new Set<number>();
  // A chain is written where its last op was, or before the first op that reads one of its results.
  const write = (index: number): void => {
    if (written.has(index)) return;
    const chain = chains.membersOf(index);
    for (const member of chain) written.add(member);
    const members = chain.map((member) => itemAt(ops, member));
    for (const member of chain) for (const source of itemAt(sources, member)) write(source);
    const outputs = members.flatMap((op) => op.outputs.filter(leaves));
    const loop = members.every(isLink) ? loopOf(members, outputs, sourceOf) : undefined;
    rewritten.push(...(loop === undefined ? members : [loop]));
    if (loop !== undefined) for (const op of members) standsFor.set(outputOf(op), itemAt(outputs, 0));
  };
  for (const index of ops.keys()) if (isLastOf(chains, index)) write(index);
  return dropDeadOps({ ...recording, ops: rewritten.map((op) => afterLoops(op, standsFor, leaves)) });
};

/** Whether an op computes every element of a large tensor from those in the same place of others. */
function linksOf({ values }: Recording): (op: RecordedOp) => boolean {
  const isLarge = (value: ValueId) =>
    isRealType(values.get(value)?.dtype) && elementCount(values.get(value)?.shape ?? []) >= SMALLEST;
  return (op) =>
    (ARITHMETIC.has(op.type) || MOVES.has(op.type)) &&
    op.after === undefined &&
    !isWidening(op) &&
    op.outputs.every(isLarge);
}

/** By op: the ops that must be done before it. An input may come late, as the answer to results recorded before it. */
function sourcesOf(
  { ops, outputs }: Recording,
  producerOf: (value: ValueId) => number,
): readonly (readonly number[])[] {
  const results = Object.values(outputs).map(producerOf);
  return ops.map(({ type, variable, inputs, after = [] }, index) => {
    const isInput = type === 'Placeholder' && variable === undefined;
    return isInput ? results.filter((result) => result < index) : [...inputs, ...after].map(producerOf);
  });
}

function chainsOf(
  { ops, values }: Recording,
  sources: readonly (readonly number[])[],
  isLink: (op: RecordedOp) => boolean,
): Clusters {
  const sizeOf = (op: RecordedOp) => elementCount(values.get(outputOf(op))?.shape ?? []);
  const clusters = new Clusters(sources);
  for (const [index, op] of ops.entries()) {
    if (!isLink(op)) continue;
    for (const source of itemAt(sources, index)) {
      const from = itemAt(ops, source);
      if (isLink(from) && sizeOf(from) === sizeOf(op)) clusters.merge(source, index);
    }
  }
  return clusters;
}

/** Whether a value is a result, or read outside of the chain that makes it. */
function leavingOf(recording: Recording, chains: Clusters): (value: ValueId) => boolean {
  const made = new Map<ValueId, readonly number[]>();
  const leaving = new Set(resultsOf(recording));
  for (const [index, { inputs, outputs }] of recording.ops.entries()) {
    const chain = chains.membersOf(index);
    for (const value of outputs) made.set(value, chain);
    for (const value of inputs) if (made.get(value) !== chain) leaving.add(value);
  }
  return (value) => leaving.has(value);
}

function isLastOf(chains: Clusters, index: number): boolean {
  return chains.membersOf(index).at(-1) === index;
}

/** Whoever waits for a value that no longer leaves its loop waits for the loop. */
function afterLoops(
  op: RecordedOp,
  standsFor: ReadonlyMap<ValueId, ValueId>,
  leaves: (value: ValueId) => boolean,
): RecordedOp {
  const { after } = op;
  if (after === undefined) return op;
  return { ...op, after: after.map((value) => (leaves(value) ? value : (standsFor.get(value) ?? value))) };
}

/** Constants of at most so many bytes, such as shapes and single factors, become part of a loop. */
const SMALL_CONSTANT_BYTES = 64;

/**
 * Ops as one loop, with the small constants and the widened bfloat16 values that they read; undefined where that saves
 * no pass over memory.
 * @param outputs the values that leave
 * @param sourceOf the op that yields a value
 */
function loopOf(
  members: readonly RecordedOp[],
  outputs: readonly ValueId[],
  sourceOf: (value: ValueId) => RecordedOp,
): RecordedOp | undefined {
  const made = new Set(members.flatMap((op) => op.outputs));
  const within = new Set<RecordedOp>();
  const inputs = new Set<ValueId>();
  for (const value of members.flatMap((op) => op.inputs)) {
    if (made.has(value)) continue;
    const source = sourceOf(value);
    if (isWidening(source)) inputs.add(inputOf(source));
    else if (!isSmallConstant(source)) inputs.add(value);
    if (isWidening(source) || isSmallConstant(source)) within.add(source);
  }
  const ops = [...within, ...members];
  if (ops.filter(({ type }) => type !== 'Reshape' && type !== 'Const').length < 2) return undefined;
  const body = { ops, inputs: [...inputs], outputs };
  return { type: LOOP, attrs: {}, inputs: body.inputs, outputs, body };
}

function isSmallConstant({ type, constantValue }: RecordedOp): boolean {
  return type === 'Const' && constantValue !== undefined && constantValue.byteLength <= SMALL_CONSTANT_BYTES;
}
