import { expect, test } from 'vitest';
import { type Attrs, isCustomOp, OP_FAMILIES, recordedOpType } from './ops.js';

const T: Attrs = { T: { kind: 'type', value: 'float32' } };

test('no op stands in two families', () => {
  const listed = Object.values(OP_FAMILIES).flatMap((ops) => Object.keys(ops));
  expect(new Set(listed).size).toBe(listed.length);
});

test('a listed op with its attributes may be recorded', () => {
  expect(recordedOpType('Add', T)).toBe('Add');
  expect(recordedOpType('AdamUpdate', T)).toBe('AdamUpdate');
});

test('an op that is not listed, or that only a rewriting pass makes, is refused', () => {
  expect(() => recordedOpType('Einsum', T)).toThrow('cannot hold this op');
  expect(() => recordedOpType('L2Loss', T)).toThrow('cannot hold this op');
});

test('an attribute that is not listed, or of another kind, is refused', () => {
  expect(() => recordedOpType('Add', { ...T, seed: { kind: 'int', value: 1 } })).toThrow('attribute seed');
  expect(() => recordedOpType('Add', { T: { kind: 'int', value: 1 } })).toThrow('attribute T of kind int');
});

test('only Weft’s own ops are custom', () => {
  expect([isCustomOp('AdamUpdate'), isCustomOp('BlockGradient'), isCustomOp('Add')]).toEqual([true, true, false]);
});
