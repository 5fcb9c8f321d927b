import { refuse } from '@weft/common';
import type { Builder } from './builder.js';
import { input, type Lowering, pair, triple } from './lowering.js';
import { axisOf, constantInt, constantInts, range, type Value } from './value.js';

/** Elements are chosen by indices that are computed. Unlike TensorFlow, XLA takes the nearest element for an index out of range. */
export const INDEXING = {
  OneHot: (builder, inputs, { attrs }) => {
    const [indices, depth, on] = triple(inputs);
    const axis = attrs.axis?.kind === 'int' ? attrs.axis.value : -1;
    if (axis !== -1 && axis !== indices.shape.length) refuse('internal', 'a one-hot axis must be the last one');
    return oneHot(builder, indices, constantInt(depth, 'the depth'), on, input(inputs, 3));
  },
  GatherV2: (builder, inputs, { attrs }) => {
    const [x, indices, axis] = triple(inputs);
    if (attrs.batch_dims?.kind === 'int' && attrs.batch_dims.value !== 0)
      refuse('internal', 'batch axes are not lowered');
    return gatherAlong(builder, x, indices, axisOf(constantInt(axis, 'the axis'), x.shape.length));
  },
  GatherNd: (builder, inputs) => gatherPlaces(builder, ...pair(inputs)),
  ScatterNd: (builder, inputs) => {
    const [indices, updates, shape] = triple(inputs);
    const zeros = builder.filled(0, { shape: constantInts(shape, 'the shape'), dtype: updates.dtype });
    return scatterAdd(builder, zeros, indices, updates);
  },
  ScatterNdNonAliasingAdd: (builder, inputs) => scatterAdd(builder, ...triple(inputs)),
  UnsortedSegmentSum: (builder, inputs) => {
    const [x, segments, count] = triple(inputs);
    const rows = x.shape.slice(segments.shape.length);
    const zeros = builder.filled(0, {
      shape: [constantInt(count, 'the number of segments'), ...rows],
      dtype: x.dtype,
    });
    return scatterAdd(builder, zeros, builder.reshape(segments, [...segments.shape, 1]), x);
  },
} as const satisfies Record<string, Lowering>;

function oneHot(builder: Builder, indices: Value, depth: number, on: Value, off: Value): Value {
  const shape = [...indices.shape, depth];
  const positions = builder.iota({ shape, dtype: indices.dtype }, shape.length - 1);
  const isThere = builder.compare('EQ', builder.reshape(indices, [...indices.shape, 1]), positions);
  return builder.select(isThere, on, off);
}

/** The slices of x at indices along one axis, in the place of that axis. */
export function gatherAlong(builder: Builder, x: Value, indices: Value, axis: number): Value {
  const places = builder.reshape(indices, [...indices.shape, 1]);
  const before = range(axis);
  const after = range(x.shape.length - axis - 1, axis + indices.shape.length);
  return gather(builder, x, places, {
    offsets: [...before, ...after],
    addressed: [axis],
    shape: [...x.shape.slice(0, axis), ...indices.shape, ...x.shape.slice(axis + 1)],
  });
}

/** The elements or slices of x at places, which address its first axes. */
export function gatherPlaces(builder: Builder, x: Value, places: Value): Value {
  const depth = places.shape.at(-1) ?? 1;
  const outer = places.shape.length - 1;
  const rest = x.shape.slice(depth);
  return gather(builder, x, places, {
    offsets: range(rest.length, outer),
    addressed: range(depth),
    shape: [...places.shape.slice(0, -1), ...rest],
  });
}

interface Gather {
  /** Axes of the result that run over a slice. */
  readonly offsets: readonly number[];
  /** Axes of x that the numbers of a place address. */
  readonly addressed: readonly number[];
  readonly shape: readonly number[];
}

function gather(builder: Builder, x: Value, places: Value, { offsets, addressed, shape }: Gather): Value {
  const numbers = [
    `offset_dims = [${offsets}]`,
    `collapsed_slice_dims = [${addressed}]`,
    `start_index_map = [${addressed}]`,
    `index_vector_dim = ${places.shape.length - 1}`,
  ];
  const sizes = x.shape.map((size, axis) => (addressed.includes(axis) ? 1 : size));
  const attributes = `dimension_numbers = #stablehlo.gather<${numbers.join(', ')}>, slice_sizes = array<i64: ${sizes}>`;
  const text = `"stablehlo.gather"(${x.name}, ${places.name}) <{${attributes}}>`;
  return builder.write(text, [x, places], { shape, dtype: x.dtype });
}

/** Adds updates to the elements or slices of x at places. A place out of range, such as a negative one, is left out. */
function scatterAdd(builder: Builder, x: Value, places: Value, updates: Value): Value {
  const depth = places.shape.at(-1) ?? 1;
  const outer = places.shape.length - 1;
  const numbers = [
    `update_window_dims = [${range(x.shape.length - depth, outer)}]`,
    `inserted_window_dims = [${range(depth)}]`,
    `scatter_dims_to_operand_dims = [${range(depth)}]`,
    `index_vector_dim = ${outer}`,
  ];
  const attributes = `scatter_dimension_numbers = #stablehlo.scatter<${numbers.join(', ')}>, indices_are_sorted = false, unique_indices = false`;
  const operands = [x, places, updates];
  const names = operands.map(({ name }) => name).join(', ');
  return builder.write(`"stablehlo.scatter"(${names}) <{${attributes}}> ${builder.addRegion(x.dtype)}`, operands, x);
}
