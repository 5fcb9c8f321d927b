import { describe, expect, it } from 'vitest';
import type { DType } from '../dtype.js';
import type { Attrs, OpType } from '../ops.js';
import type { RecordedOp, Recording, ValueInfo } from '../recording.js';
import { bf16Matmuls, bf16Softmax } from './bf16.js';
import { dropDeadOps, dropNoOpCasts, mergeEqualOps } from './redundant-ops.js';

const type = (value: DType) => ({ kind: 'type', value }) as const;
const float: ValueInfo = { shape: [2, 2], dtype: 'float32' };
const op = (
  kind: OpType,
  inputs: number[],
  output: number,
  attrs: Attrs = {},
  constantValue?: number[],
): RecordedOp => ({
  type: kind,
  attrs,
  inputs,
  outputs: [output],
  ...(constantValue === undefined ? {} : { constantValue: Uint8Array.from(constantValue) }),
});
const recordingOf = (ops: RecordedOp[], result: number, inputs: Record<string, number> = {}): Recording => ({
  program: 'p',
  phase: 'only',
  ops,
  values: new Map(ops.flatMap(({ outputs }) => outputs.map((id) => [id, float] as const))),
  inputs,
  outputs: { y: result },
  assignments: {},
});
const types = ({ ops }: Recording) => ops.map((one) => one.type);

describe('rewriting passes', () => {
  it('replace a cast to the same type by its input, also where it is the result', () => {
    const same = { SrcT: type('float32'), DstT: type('float32') };
    const rewritten = dropNoOpCasts(
      recordingOf([op('Placeholder', [], 0), op('Cast', [0], 1, same), op('Identity', [1], 2)], 2),
    );
    expect(types(rewritten)).toEqual(['Placeholder']);
    expect(rewritten.outputs).toEqual({ y: 0 });
  });

  it('keep a cast that changes the type', () => {
    const real = { SrcT: type('int32'), DstT: type('float32') };
    expect(types(dropNoOpCasts(recordingOf([op('Placeholder', [], 0), op('Cast', [0], 1, real)], 1)))).toContain(
      'Cast',
    );
  });

  it('merge equal constants and then the equal ops over them, but never two placeholders', () => {
    const ops = [
      op('Placeholder', [], 0),
      op('Placeholder', [], 1),
      op('Const', [], 2, {}, [1, 2]),
      op('Const', [], 3, {}, [1, 2]),
      op('Const', [], 4, {}, [1, 3]),
      op('Add', [0, 2], 5),
      op('Add', [0, 3], 6),
      op('Add', [0, 4], 7),
      op('AddN', [1, 5, 6, 7], 8),
    ];
    const rewritten = mergeEqualOps(recordingOf(ops, 8));
    expect(types(rewritten)).toEqual(['Placeholder', 'Placeholder', 'Const', 'Const', 'Add', 'Add', 'AddN']);
    expect(rewritten.ops.at(-1)?.inputs).toEqual([1, 5, 5, 7]);
  });

  it('keep two constants of the same bytes and different shapes apart', () => {
    const recording = recordingOf([op('Const', [], 0, {}, [1]), op('Const', [], 1, {}, [1]), op('Add', [0, 1], 2)], 2);
    const values = new Map(recording.values).set(1, { shape: [4], dtype: 'float32' });
    expect(types(mergeEqualOps({ ...recording, values }))).toEqual(['Const', 'Const', 'Add']);
  });

  it('drop what no result needs, and keep declared inputs so that they can be fed', () => {
    const ops = [
      op('Placeholder', [], 0),
      op('Placeholder', [], 1),
      op('Exp', [0], 2),
      op('Log', [1], 3),
      op('Neg', [3], 4),
    ];
    expect(types(dropDeadOps(recordingOf(ops, 2, { x: 0, unused: 1 })))).toEqual(['Placeholder', 'Placeholder', 'Exp']);
  });

  it('feed float32 products with bfloat16 operands, casting a shared operand once', () => {
    const T = { T: type('float32') };
    const ops = [op('Placeholder', [], 0), op('MatMul', [0, 0], 1, T), op('MatMul', [0, 1], 2, T)];
    const rewritten = bf16Matmuls(recordingOf(ops, 2));
    expect(types(rewritten)).toEqual(['Placeholder', 'Cast', 'MatMul', 'Cast', 'Cast', 'MatMul', 'Cast']);
    const product = rewritten.ops.at(-1)?.outputs[0] as number;
    expect(rewritten.outputs).toEqual({ y: product });
    expect(rewritten.values.get(product)?.dtype).toBe('float32');
  });

  it('feed attention and its gradient with bfloat16 operands, segments and log-sum-exp apart', () => {
    const attention: RecordedOp = {
      type: 'Attention',
      attrs: { T: type('float32') },
      inputs: [0, 0, 0, 1],
      outputs: [2, 3],
    };
    const gradient: RecordedOp = {
      ...attention,
      type: 'AttentionGrad',
      inputs: [0, 0, 0, 2, 3, 0, 1],
      outputs: [4, 5, 6],
    };
    const ops = [op('Placeholder', [], 0), op('Placeholder', [], 1), attention, gradient, op('AddN', [4, 5, 6], 7)];
    const rewritten = bf16Matmuls(recordingOf(ops, 7));
    const cast = 'Cast';
    const after = ['AttentionGrad', cast, cast, cast, 'AddN'];
    expect(types(rewritten)).toEqual(['Placeholder', 'Placeholder', cast, 'Attention', cast, ...after]);
    const [forward, backward] = rewritten.ops.filter((one) => one.type.startsWith('Attention'));
    const typesOf = (values: readonly number[] = []) => values.map((value) => rewritten.values.get(value)?.dtype);
    const [half, whole] = ['bfloat16', 'float32'];
    expect(typesOf(forward?.inputs)).toEqual([half, half, half, whole]);
    expect(typesOf(forward?.outputs)).toEqual([half, whole]);
    expect(typesOf(backward?.inputs)).toEqual([half, half, half, half, whole, half, whole]);
    expect(backward?.inputs[3]).toBe(forward?.outputs[0]);
  });

  it('take a softmax in bfloat16 where a product reads it, and leave any other alone', () => {
    const T = { T: type('float32') };
    const ops = [op('Placeholder', [], 0), op('Softmax', [0], 1, T), op('MatMul', [1, 0], 2, T)];
    const { ops: rewritten } = bf16Softmax(bf16Matmuls(recordingOf(ops, 2)));
    const softmax = rewritten.find((one) => one.type === 'Softmax');
    expect(softmax?.attrs.T?.value).toBe('bfloat16');
    expect(rewritten.find((one) => one.type === 'MatMul')?.inputs[0]).toBe(softmax?.outputs[0]);
    const alone = bf16Softmax(bf16Matmuls(recordingOf([...ops.slice(0, 2), op('Log', [1], 2, T)], 2)));
    expect(types(alone)).toEqual(['Placeholder', 'Softmax', 'Log']);
  });
});
