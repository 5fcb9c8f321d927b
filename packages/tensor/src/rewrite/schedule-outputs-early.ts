import { outputOf, type RecordedOp, resultsOf, type ValueId } from '../recording.js';
import { itemAt, required } from '../required.js';
import type { Pass } from './edit.js';

/**
 * What leads to results only is computed before the next matrix product of the way to other results: a gradient bucket
 * can leave while the backward pass goes on, and what its gradients are made of need not be kept. Left to itself,
 * TensorFlow runs the ops that became ready last first, and so every weight's gradient at the very end.
 *
 * Ops move up to where their last matrix product is done; only their order and control inputs change.
 */
export const scheduleOutputsEarly: Pass = (recording) => {
  const { ops } = recording;
  const producer = new Map(ops.flatMap((op, index) => op.outputs.map((value) => [value, index] as const)));
  const inputsOf = ({ inputs, after = [] }: RecordedOp) =>
    [...inputs, ...after].map((value) => required(producer, value));

  /** By op: the last milestone that it waits for; -1 for none. */
  const readyAfter: number[] = [];
  for (const [index, op] of ops.entries()) {
    const inputsReady = inputsOf(op).map((input) => itemAt(readyAfter, input));
    readyAfter.push(isMilestone(op) ? index : Math.max(-1, ...inputsReady));
  }

  /** By op: whether a matrix product waits for it, and the latest time at which somebody reads it. */
  const leadsOn = ops.map(() => false);
  const readAt = ops.map(() => -1);
  for (const [index, op] of [...ops.entries()].reverse())
    for (const input of inputsOf(op)) {
      if (isProduct(op) || leadsOn[index]) leadsOn[input] = true;
      readAt[input] = Math.max(itemAt(readAt, input), itemAt(readyAfter, index));
    }

  const results = new Set(resultsOf(recording).map((value) => producer.get(value)));
  const held = new Map<number, ValueId[]>();
  const holding = ops.flatMap((op, index) => ((isProduct(op) || isInPlace(op)) && leadsOn[index] ? [index] : []));
  for (const [index, op] of ops.entries()) {
    const ready = itemAt(readyAfter, index);
    const waitsForOthers = results.has(index) || itemAt(readAt, index) > ready;
    if (ready < 0 || leadsOn[index] || !waitsForOthers) continue;
    const next = holding.find((later) => later > ready);
    if (next !== undefined) held.set(next, [...(held.get(next) ?? []), outputOf(op)]);
  }

  const order = [...ops.keys()].sort((a, b) => itemAt(readyAfter, a) - itemAt(readyAfter, b) || a - b);
  return {
    ...recording,
    ops: order.map((index) => {
      const op = itemAt(ops, index);
      const after = held.get(index);
      return after === undefined ? op : { ...op, after: [...(op.after ?? []), ...after] };
    }),
  };
};

/** A late input comes when what was recorded before it is computed. */
function isMilestone(op: RecordedOp): boolean {
  return isProduct(op) || isInPlace(op) || (op.type === 'Placeholder' && op.variable === undefined);
}

/** Writes over its input if nobody is left to read that, and copies it first otherwise. */
function isInPlace({ type }: RecordedOp): boolean {
  return type === 'ScatterNdNonAliasingAdd';
}

function isProduct({ type }: RecordedOp): boolean {
  return type.includes('MatMul');
}
