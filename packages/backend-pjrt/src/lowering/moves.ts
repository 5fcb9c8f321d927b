import { refuse } from '@weft/common';
import { elementCount, type OP_FAMILIES } from '@weft/tensor';
import type { Builder } from './builder.js';
import { INDEXING } from './indexing.js';
import { input, type Lowering, pair, triple } from './lowering.js';
import { axisOf, constantInt, constantInts, range, type Value } from './value.js';

type Moves = keyof (typeof OP_FAMILIES)['moves'];

/** Elements go elsewhere; none is computed. Shapes, axes and sizes are constants. */
export const MOVES: Record<Moves, Lowering> = {
  ...INDEXING,
  Reshape: (builder, inputs) => {
    const [x, shape] = pair(inputs);
    return builder.reshape(x, fullShape(constantInts(shape, 'the shape'), elementCount(x.shape)));
  },
  ExpandDims: (builder, inputs) => {
    const [x, axis] = pair(inputs);
    return builder.reshape(x, x.shape.toSpliced(axisOf(constantInt(axis, 'the axis'), x.shape.length + 1), 0, 1));
  },
  Transpose: (builder, inputs) => {
    const [x, permutation] = pair(inputs);
    return builder.transpose(x, constantInts(permutation, 'the permutation'));
  },
  Slice: (builder, inputs) => {
    const [x, beginInput, sizeInput] = triple(inputs);
    const begin = constantInts(beginInput, 'the beginning of a slice');
    const size = constantInts(sizeInput, 'the size of a slice');
    const shape = size.map((length, axis) => (length === -1 ? (x.shape[axis] ?? 0) - (begin[axis] ?? 0) : length));
    return builder.slice(x, begin, shape);
  },
  SplitV: (builder, inputs) => {
    const [x, sizes, axis] = triple(inputs);
    return split(builder, x, constantInts(sizes, 'the sizes of parts'), constantInt(axis, 'the axis'));
  },
  ConcatV2: (builder, inputs) => {
    const parts = inputs.slice(0, -1);
    const axis = constantInt(input(inputs, inputs.length - 1), 'the axis');
    return builder.concatenate(parts, axisOf(axis, input(parts, 0).shape.length));
  },
  Pack: (builder, inputs, { attrs }) => {
    const { shape } = input(inputs, 0);
    const axis = axisOf(attrs.axis?.kind === 'int' ? attrs.axis.value : 0, shape.length + 1);
    const wider = shape.toSpliced(axis, 0, 1);
    return builder.concatenate(
      inputs.map((x) => builder.reshape(x, wider)),
      axis,
    );
  },
  Fill: (builder, inputs) => {
    const [shape, x] = pair(inputs);
    return builder.broadcast(x, constantInts(shape, 'the shape'));
  },
  Range: (builder, inputs) => arithmeticSequence(builder, ...triple(inputs)),
};

/** A shape in which one length may be −1: whatever is left. */
function fullShape(shape: readonly number[], count: number): readonly number[] {
  const known = elementCount(shape.filter((size) => size !== -1));
  return shape.map((size) => (size === -1 ? count / known : size));
}

function split(builder: Builder, x: Value, sizes: readonly number[], axisInput: number): readonly Value[] {
  const axis = axisOf(axisInput, x.shape.length);
  const sum = sizes.reduce((total, size) => total + Math.max(size, 0), 0);
  let from = 0;
  return sizes.map((size) => {
    const length = size === -1 ? (x.shape[axis] ?? 0) - sum : size;
    const begin = range(x.shape.length).map((each) => (each === axis ? from : 0));
    from += length;
    return builder.slice(x, begin, x.shape.with(axis, length));
  });
}

/** From `start` to before `limit`. Its length is a shape, so all three must be constants. */
function arithmeticSequence(builder: Builder, start: Value, limit: Value, step: Value): Value {
  const [from, to, by] = [start, limit, step].map(constantNumber) as [number, number, number];
  const length = Math.max(0, Math.ceil((to - from) / by));
  const counted = builder.iota({ shape: [length], dtype: start.dtype }, 0);
  const scaled = by === 1 ? counted : builder.binary('multiply', counted, step);
  return from === 0 ? scaled : builder.binary('add', scaled, start);
}

function constantNumber({ constantValue, dtype }: Value): number {
  if (constantValue === undefined) return refuse('internal', 'the limits of a sequence must be constants');
  const { buffer } = constantValue.slice();
  const [number] = dtype === 'float32' ? new Float32Array(buffer) : new Int32Array(buffer);
  return number ?? 0;
}
