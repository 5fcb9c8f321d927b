import { expect, test } from 'vitest';
import type { DType } from '../dtype.js';
import type { OpType } from '../ops.js';
import type { RecordedOp, Recording } from '../recording.js';
import { float32Gradients, sinkCasts } from './bf16.js';
import { dropDeadOps } from './redundant-ops.js';

const type = (value: DType) => ({ kind: 'type', value }) as const;
const WIDEN = { SrcT: type('bfloat16'), DstT: type('float32') };
const NARROW = { SrcT: type('float32'), DstT: type('bfloat16') };
const isNarrowed = ({ attrs }: RecordedOp) => attrs === NARROW;

const op = (type: OpType, inputs: number[], output: number, attrs: RecordedOp['attrs'] = {}): RecordedOp => ({
  type,
  attrs,
  inputs,
  outputs: [output],
});
const recordingOf = (ops: RecordedOp[], outputs: Record<string, number>, halves: number[] = []): Recording => {
  const half = new Set([...halves, ...ops.filter(isNarrowed).flatMap((op) => op.outputs)]);
  const dtypeOf = (value: number) => (half.has(value) ? 'bfloat16' : 'float32');
  const values = new Map(
    ops.flatMap((op) => op.outputs.map((value) => [value, { shape: [2, 2], dtype: dtypeOf(value) }] as const)),
  );
  return { program: 'p', phase: 'only', ops, values, inputs: {}, outputs, assignments: {} };
};
const form = (recording: Recording) => {
  const { ops, values } = dropDeadOps(sinkCasts(recording));
  return ops.map((op) => [op.type, values.get(op.outputs[0] as number)?.dtype === 'bfloat16' ? 16 : 32]);
};

test('what is moved and then narrowed is narrowed first', () => {
  const ops = [
    op('Placeholder', [], 0),
    op('Reshape', [0], 1),
    op('Transpose', [1], 2),
    op('Cast', [2], 3, NARROW),
    op('MatMul', [3, 3], 4),
  ];
  expect(form(recordingOf(ops, { y: 4 }, [4]))).toEqual([
    ['Placeholder', 32],
    ['Cast', 16],
    ['Reshape', 16],
    ['Transpose', 16],
    ['MatMul', 16],
  ]);
});

test('what is widened and then moved is widened last', () => {
  const ops = [op('Placeholder', [], 0), op('Cast', [0], 1, WIDEN), op('Transpose', [1], 2), op('Neg', [2], 3)];
  expect(form(recordingOf(ops, { y: 3 }, [0]))).toEqual([
    ['Placeholder', 16],
    ['Transpose', 16],
    ['Cast', 32],
    ['Neg', 32],
  ]);
});

test('what is widened, moved and narrowed again is only moved', () => {
  const ops = [
    op('Placeholder', [], 0),
    op('Cast', [0], 1, WIDEN),
    op('Transpose', [1], 2),
    op('Cast', [2], 3, NARROW),
    op('MatMul', [3, 3], 4),
  ];
  expect(form(recordingOf(ops, { y: 4 }, [0, 4]))).toEqual([
    ['Placeholder', 16],
    ['Transpose', 16],
    ['MatMul', 16],
  ]);
});

test('what others read as it was moved stays', () => {
  const ops = [
    op('Placeholder', [], 0),
    op('Transpose', [0], 1),
    op('Cast', [1], 2, NARROW),
    op('MatMul', [2, 2], 3),
    op('Neg', [1], 4),
  ];
  expect(form(recordingOf(ops, { y: 3, z: 4 }, [3]))).toEqual([
    ['Placeholder', 32],
    ['Transpose', 32],
    ['Cast', 16],
    ['MatMul', 16],
    ['Neg', 32],
  ]);
});

test('products that leave are given in float32, and those that are read on in bfloat16', () => {
  const ops = [
    op('Placeholder', [], 0),
    op('Cast', [0], 1, NARROW),
    op('MatMul', [1, 1], 2),
    op('Cast', [2], 3, WIDEN),
    op('MatMul', [1, 2], 4),
    op('Cast', [4], 5, WIDEN),
    op('Reshape', [5], 6),
    op('Placeholder', [], 7),
    op('AddV2', [6, 7], 8),
  ];
  const recording = float32Gradients(recordingOf(ops, { read: 3, gradient: 8 }, [1, 2, 4]));
  const products = recording.ops.filter(({ type }) => type === 'MatMul');
  expect(products.map(({ outputs: [id = -1] }) => recording.values.get(id)?.dtype)).toEqual(['bfloat16', 'float32']);
  expect(products.map(({ attrs }) => attrs.Tout?.value)).toEqual([undefined, 'float32']);
  expect(recording.ops.filter(({ attrs }) => attrs === WIDEN)).toHaveLength(1);
});
