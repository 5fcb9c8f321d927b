import { expect, it } from 'vitest';
import { ADAM_UPDATE } from '../adam-update.js';
import type { RecordedOp, Recording } from '../graph/recording.js';
import { DataType } from '../native/data-type.js';
import { decayLate } from './decay-late.js';

const op = (type: string, inputs: number[], outputs: number[], rest: Partial<RecordedOp> = {}): RecordedOp => ({
  type,
  attrs: {},
  inputs,
  outputs,
  ...rest,
});

it('a parameter that decays is multiplied just before its update, once its gradient is there', () => {
  const recording: Recording = {
    program: 'p',
    phase: 'only',
    ops: [
      op('Placeholder', [], [0], { variable: 'w' }),
      op('Placeholder', [], [1], { variable: 'v' }),
      op('Mul', [0, 0], [2]),
      op('MatMul', [0, 0], [3]),
      op(ADAM_UPDATE, [2, 3], [4]),
      op(ADAM_UPDATE, [1, 3], [5]),
    ],
    values: new Map(Array.from({ length: 6 }, (_, id) => [id, { shape: [2, 2], dataType: DataType.float32 }])),
    inputs: {},
    outputs: {},
    assignments: { w: 4, v: 5 },
  };
  const { ops } = decayLate(recording);
  expect(ops.map(({ type }) => type)).toEqual([
    'Placeholder',
    'Placeholder',
    'MatMul',
    'Mul',
    ADAM_UPDATE,
    ADAM_UPDATE,
  ]);
  expect(ops.map(({ after }) => after)).toEqual([undefined, undefined, undefined, [3], undefined, undefined]);
});
