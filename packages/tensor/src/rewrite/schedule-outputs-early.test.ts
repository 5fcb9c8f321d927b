import { expect, test } from 'vitest';
import type { OpType } from '../ops.js';
import type { RecordedOp, Recording, ValueInfo } from '../recording.js';
import { scheduleOutputsEarly } from './schedule-outputs-early.js';

const info: ValueInfo = { shape: [2, 2], dtype: 'float32' };
const op = (type: OpType, inputs: number[], output: number): RecordedOp => ({
  type,
  attrs: {},
  inputs,
  outputs: [output],
});
const recordingOf = (ops: RecordedOp[], outputs: Record<string, number>): Recording => ({
  program: 'p',
  phase: 'only',
  ops,
  values: new Map(ops.map(({ outputs: [value] }) => [value as number, info])),
  inputs: {},
  outputs,
  assignments: {},
});

/** Two layers of a backward pass: 1 and 3 lead on, 2 and 4 are weight gradients, flattened at the very end. */
const backward = recordingOf(
  [
    op('Placeholder', [], 0),
    op('MatMul', [0, 0], 1),
    op('MatMul', [0, 0], 2),
    op('Mul', [1, 1], 5),
    op('MatMul', [5, 5], 3),
    op('MatMul', [5, 0], 4),
    op('MatMul', [3, 3], 6),
    op('Cast', [2], 7),
    op('Cast', [4], 8),
    op('ConcatV2', [7, 8], 9),
  ],
  { bucket: 9, rest: 6 },
);

test('what only a result reads moves up to its product, and the next product of the way on waits for it', () => {
  const { ops } = scheduleOutputsEarly(backward);
  expect(ops.map(({ outputs: [value] }) => value)).toEqual([0, 1, 5, 2, 7, 3, 4, 8, 9, 6]);
  expect(ops.filter(({ after }) => after !== undefined).map(({ outputs, after }) => [outputs[0], after])).toEqual([
    [3, [7]],
  ]);
});

test('inputs of every op still come before it, and no op waits for a later one', () => {
  const { ops } = scheduleOutputsEarly(backward);
  const seen = new Set<number>();
  for (const { inputs, outputs, after = [] } of ops) {
    expect([...inputs, ...after].every((value) => seen.has(value))).toBe(true);
    for (const output of outputs) seen.add(output);
  }
});

test('a result that waits for a late input holds nothing back that was recorded before the input', () => {
  const sent = 1;
  const answer = 3;
  const recording = recordingOf(
    [
      op('Placeholder', [], 0),
      op('MatMul', [0, 0], 2),
      op('MatMul', [0, 0], sent),
      op('Placeholder', [], answer),
      op('Add', [2, answer], 4),
      op('MatMul', [answer, 0], 5),
      op('MatMul', [5, 0], 6),
    ],
    { sent, sum: 4, y: 6 },
  );
  const waiting = scheduleOutputsEarly(recording).ops.filter(({ after }) => after?.includes(4));
  expect(waiting.map(({ outputs }) => outputs[0])).toEqual([5]);
});
