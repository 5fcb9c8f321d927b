import { expect, test } from 'vitest';
import type { DType } from '../dtype.js';
import type { OpType } from '../ops.js';
import { LOOP, type RecordedOp, type Recording, type ValueInfo } from '../recording.js';
import { fuseElementwise } from './fuse-elementwise.js';

const large = (dtype: DType): ValueInfo => ({ shape: [512, 512], dtype });
const [FLOAT, HALF] = [large('float32'), large('bfloat16')];
const type = (value: DType) => ({ kind: 'type', value }) as const;
const WIDEN = { SrcT: type('bfloat16'), DstT: type('float32') };
const NARROW = { SrcT: type('float32'), DstT: type('bfloat16') };

interface Line extends Partial<RecordedOp> {
  readonly info?: ValueInfo;
}
const op = (type: OpType, inputs: number[], output: number, rest: Line = {}) => ({
  attrs: {},
  ...rest,
  type,
  inputs,
  outputs: [output],
  info: rest.info ?? FLOAT,
});
const recordingOf = (lines: ReturnType<typeof op>[], outputs: Record<string, number>): Recording => ({
  program: 'p',
  phase: 'only',
  ops: lines.map(({ info: _, ...line }) => line),
  values: new Map(lines.map(({ outputs: [value], info }) => [value as number, info])),
  inputs: { x: 0 },
  outputs,
  assignments: {},
});
const bodyOf = ({ body }: RecordedOp) => body?.ops.map(({ type }) => type);
const loopsIn = ({ ops }: Recording) => ops.filter(({ type }) => type === LOOP);

test('a chain is one loop, which takes small constants in and widens what it reads', () => {
  const recording = recordingOf(
    [
      op('Placeholder', [], 0, { info: HALF }),
      op('Const', [], 1, { info: { shape: [], dtype: 'float32' }, constantValue: new Uint8Array(4) }),
      op('Cast', [0], 2, { attrs: WIDEN }),
      op('Mul', [2, 1], 3),
      op('Sigmoid', [3], 4),
      op('Cast', [4], 5, { attrs: NARROW, info: HALF }),
      op('MatMul', [5, 5], 6),
    ],
    { y: 6 },
  );
  const rewritten = fuseElementwise(recording);
  expect(rewritten.ops.map(({ type }) => type)).toEqual(['Placeholder', LOOP, 'MatMul']);
  const [loop] = loopsIn(rewritten);
  expect([loop?.inputs, loop?.outputs]).toEqual([[0], [5]]);
  expect(bodyOf(loop as RecordedOp)).toEqual(['Cast', 'Const', 'Mul', 'Sigmoid', 'Cast']);
});

test('what others read leaves the loop as well, and who waited for what stays inside waits for the loop', () => {
  const recording = recordingOf(
    [
      op('Placeholder', [], 0),
      op('Mul', [0, 0], 1),
      op('Neg', [1], 2),
      op('Square', [2], 3),
      op('MatMul', [2, 2], 4),
      op('MatMul', [0, 0], 5, { after: [1] }),
    ],
    { a: 3, b: 4, c: 5 },
  );
  const rewritten = fuseElementwise(recording);
  expect(loopsIn(rewritten).map(({ outputs }) => outputs)).toEqual([[2, 3]]);
  expect(rewritten.ops.find(({ outputs }) => outputs[0] === 5)?.after).toEqual([2]);
});

test('a product between two ops of a chain keeps them apart', () => {
  const recording = recordingOf(
    [
      op('Placeholder', [], 0),
      op('Mul', [0, 0], 1),
      op('Neg', [1], 2),
      op('MatMul', [2, 2], 3),
      op('Mul', [3, 2], 4),
      op('Neg', [4], 5),
    ],
    { y: 5 },
  );
  const rewritten = fuseElementwise(recording);
  expect(rewritten.ops.map(({ type }) => type)).toEqual(['Placeholder', LOOP, 'MatMul', LOOP]);
  expect(loopsIn(rewritten).map(({ inputs, outputs }) => [inputs, outputs])).toEqual([
    [[0], [2]],
    [[3, 2], [5]],
  ]);
});

test('a loop does not wait for the answer to what it gives out', () => {
  const recording = recordingOf(
    [
      op('Placeholder', [], 0),
      op('Mul', [0, 0], 1),
      op('Neg', [1], 2),
      op('MatMul', [2, 2], 3),
      op('Placeholder', [], 4),
      op('Add', [2, 4], 5),
      op('Neg', [5], 6),
    ],
    { rows: 3, y: 6 },
  );
  const { ops } = fuseElementwise({ ...recording, inputs: { x: 0, answer: 4 } });
  expect(ops.map(({ type, outputs }) => [type, ...outputs])).toEqual([
    ['Placeholder', 0],
    [LOOP, 2],
    ['MatMul', 3],
    ['Placeholder', 4],
    [LOOP, 6],
  ]);
});

test('every value is made before it is read, also where a loop moves ops past others', () => {
  const recording = recordingOf(
    [
      op('Placeholder', [], 0),
      op('Mul', [0, 0], 1),
      op('MatMul', [1, 1], 2),
      op('MatMul', [0, 0], 3),
      op('Add', [1, 3], 4),
      op('MatMul', [4, 2], 5),
    ],
    { y: 5 },
  );
  const rewritten = fuseElementwise(recording);
  expect(loopsIn(rewritten)).toHaveLength(1);
  const made = new Set<number>();
  for (const { inputs, outputs } of rewritten.ops) {
    expect(inputs.filter((value) => !made.has(value))).toEqual([]);
    for (const value of outputs) made.add(value);
  }
});

test('small tensors, single ops and reshapes alone stay as they are', () => {
  const small: ValueInfo = { shape: [64, 64], dtype: 'float32' };
  const recording = recordingOf(
    [
      op('Placeholder', [], 0, { info: small }),
      op('Mul', [0, 0], 1, { info: small }),
      op('Neg', [1], 2, { info: small }),
      op('Placeholder', [], 3),
      op('Mul', [3, 3], 4),
      op('Reshape', [4], 5),
    ],
    { small: 2, large: 5 },
  );
  expect(loopsIn(fuseElementwise(recording))).toEqual([]);
});
