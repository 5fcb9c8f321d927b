import { describe, expect, it } from 'vitest';
import type { Attrs, OpType } from '../ops.js';
import { BLOCK_GRADIENT } from '../recomputable.js';
import type { RecordedOp, Recording, ValueInfo } from '../recording.js';
import { type Recompute, recompute } from './recompute.js';
import { dropDeadOps } from './redundant-ops.js';

const info: ValueInfo = { shape: [2, 2], dtype: 'float32' };
const op = (type: OpType, inputs: number[], output: number, rest: Partial<RecordedOp> = {}): RecordedOp => ({
  type,
  attrs: {},
  inputs,
  outputs: [output],
  ...rest,
});
const inBlock = { block: 0 };
const ofBlock: { attrs: Attrs } = { attrs: { block: { kind: 'int', value: 0 } } };

/** y = tanh(rsqrt(x)·w) in a block, a loss after it, and stand-ins (Sub, Add, RealDiv) for the gradients. */
const recording: Recording = {
  program: 'p',
  phase: 'only',
  ops: [
    op('Placeholder', [], 0),
    op('Placeholder', [], 1, { variable: 'w' }),
    op('Neg', [0], 2),
    op('Rsqrt', [2], 3, inBlock),
    op('MatMul', [3, 1], 4, inBlock),
    op('Tanh', [4], 5, inBlock),
    op('Square', [5], 6),
    op('Sub', [5, 6], 7),
    op(BLOCK_GRADIENT, [7], 8, ofBlock),
    op('Add', [5, 8], 9),
    op('MatMul', [3, 9], 10),
    op('MatMul', [9, 1], 11),
    op('RealDiv', [2, 11], 12),
  ],
  values: new Map(Array.from({ length: 13 }, (_, id) => [id, info] as const)),
  inputs: { x: 0 },
  outputs: { loss: 6, dW: 10, dX: 12 },
  assignments: {},
};

/** The ops as a nested expression of a value, variables by name. */
function expression({ ops }: Recording, value: number): string {
  const found = ops.find(({ outputs }) => outputs[0] === value) as RecordedOp;
  if (found.type === 'Placeholder') return found.variable ?? 'x';
  return `${found.type}(${found.inputs.map((input) => expression({ ops } as Recording, input)).join(', ')})`;
}

const rewritten = (mode: Recompute) => dropDeadOps(recompute(mode)(recording));
const count = ({ ops }: Recording, type: string) => ops.filter((one) => one.type === type).length;

describe('recomputation', () => {
  it('of nothing takes only the mark away', () => {
    const plain = rewritten('none');
    expect(plain.ops.map(({ type }) => type)).toEqual(
      recording.ops.map(({ type }) => type).filter((type) => type !== BLOCK_GRADIENT),
    );
    expect(expression(plain, 10)).toBe(expression(plain, 10).replaceAll(BLOCK_GRADIENT, ''));
  });

  it('of everything repeats a block from what it read outside, behind a barrier that waits for the gradient', () => {
    const full = rewritten('full');
    const x = 'Identity(Neg(x))';
    const dTanh = `Add(Tanh(MatMul(Rsqrt(${x}), w)), Sub(Tanh(MatMul(Rsqrt(Neg(x)), w)), Square(Tanh(MatMul(Rsqrt(Neg(x)), w)))))`;
    expect(expression(full, 10)).toBe(`MatMul(Rsqrt(${x}), ${dTanh})`);
    const [barrier] = full.ops.filter(({ type }) => type === 'Identity');
    const trigger = full.ops.find(({ outputs }) => outputs[0] === barrier?.after?.[0]);
    expect(trigger?.type).toBe('Slice');
    expect(trigger?.inputs[0]).toBe(7);
    expect([count(full, 'Rsqrt'), count(full, 'Tanh'), count(full, 'Identity')]).toEqual([2, 2, 1]);
  });

  it('of everything lets no op behind the gradient read what the block computed before it', () => {
    const { ops } = rewritten('full');
    const early = new Set(ops.filter(({ block }) => block !== undefined).flatMap(({ outputs }) => outputs));
    const behind = ops.slice(ops.findIndex(({ type }) => type === 'Slice'));
    expect(behind.flatMap(({ inputs }) => inputs).filter((input) => early.has(input))).toEqual([]);
  });

  it('selective keeps products with weights', () => {
    const selective = rewritten('selective');
    expect(count(selective, 'MatMul')).toBe(3);
    expect([count(selective, 'Rsqrt'), count(selective, 'Tanh')]).toEqual([2, 2]);
    expect(expression(selective, 9)).toContain('Add(Tanh(Identity(MatMul(');
  });

  it('keeps decisions, which must not fall otherwise the second time', () => {
    const values = new Map(recording.values).set(3, { shape: [2, 2], dtype: 'int32' });
    expect(count(dropDeadOps(recompute('full')({ ...recording, values })), 'Rsqrt')).toBe(1);
  });

  it('widens in any mode what a product gave in bfloat16', () => {
    const attrs: Attrs = { SrcT: { kind: 'type', value: 'bfloat16' } };
    const ops = recording.ops.map((one) => (one.type === 'Tanh' ? { ...one, type: 'Cast' as const, attrs } : one));
    const { ops: rewritten } = recompute('none')({ ...recording, ops });
    expect(rewritten.filter(({ type }) => type === 'Cast').map(({ block }) => block)).toEqual([0, undefined]);
  });

  it('takes x·sigmoid(x) of x again in any mode', () => {
    const ops = recording.ops.flatMap((one) =>
      one.type === 'Tanh' ? [op('Sigmoid', [4], 13, inBlock), op('Mul', [4, 13], 5, inBlock)] : [one],
    );
    const silu = dropDeadOps(recompute('none')({ ...recording, ops, values: new Map(recording.values).set(13, info) }));
    expect(expression(silu, 9)).toMatch(/^Add\(Mul\(Identity\(MatMul\(.*\)\), Sigmoid\(Identity\(MatMul/);
    expect([count(silu, 'MatMul'), count(silu, 'Rsqrt'), count(silu, 'Mul')]).toEqual([3, 1, 2]);
  });

  it('reads no constant and no variable through the barrier', () => {
    const { ops } = rewritten('full');
    const resident = new Set(ops.filter(({ type }) => type === 'Placeholder').flatMap(({ outputs }) => outputs));
    expect(ops.filter(({ type, inputs: [input = -1] }) => type === 'Identity' && resident.has(input))).toEqual([]);
  });
});

it('of a variable that is cut over devices reads it again behind the barrier, for the second pass and for gradients', () => {
  const kept = dropDeadOps(recompute('full')(recording));
  const again = dropDeadOps(recompute('full', { readsVariablesAgain: true })(recording));
  expect(expression(kept, 11)).not.toContain('Identity(w)');
  // The gradient of x, by way of w, and the product that is repeated.
  expect(expression(again, 11)).toMatch(/^MatMul\(.*, Identity\(w\)\)$/);
  expect(expression(again, 11)).toContain('MatMul(Rsqrt(Identity(Neg(x))), Identity(w))');
  expect(again.ops.filter(({ type }) => type === 'Identity')).toHaveLength(2);
  expect(expression(again, 6)).toBe(expression(kept, 6));
});
