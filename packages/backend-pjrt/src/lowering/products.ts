import { refuse } from '@weft/common';
import type { OP_FAMILIES } from '@weft/tensor';
import type { Builder } from './builder.js';
import { flag, type LoweredOp, type Lowering, pair, triple } from './lowering.js';
import { broadcastShape, constantInts, range, type Value } from './value.js';

/** Matrix products and convolutions. */
export const PRODUCTS: Record<keyof (typeof OP_FAMILIES)['products'], Lowering> = {
  BatchMatMulV2: matrixProduct,
  BatchMatMul: matrixProduct,
  DepthwiseConv2dNative: (builder, inputs, op) => {
    const [x_BHWC, filter_HWC1] = pair(inputs);
    requireSame(op);
    return perChannel(builder, x_BHWC, filter_HWC1, PAD_BEFORE);
  },
  DepthwiseConv2dNativeBackpropInput: (builder, inputs, op) => {
    const [, filter_HWC1, dy_BHWC] = triple(inputs);
    requireSame(op);
    // Every output saw its inputs at the filter's offsets, so an input sees its outputs at the opposite ones.
    return perChannel(builder, dy_BHWC, builder.reverse(filter_HWC1, [0, 1]), PAD_AFTER);
  },
  DepthwiseConv2dNativeBackpropFilter: (builder, inputs, op) => {
    const [x_BHWC, filterShape, dy_BHWC] = triple(inputs);
    requireSame(op);
    return filterGradient(builder, x_BHWC, constantInts(filterShape, 'the shape of the filter'), dy_BHWC);
  },
};

/** A product over the last two axes, those before being broadcast. A transposed operand is another axis to sum over. */
function matrixProduct(builder: Builder, inputs: readonly Value[], op: LoweredOp): Value {
  const [x, y] = pair(inputs);
  const outer = broadcastShape(x.shape.slice(0, -2), y.shape.slice(0, -2));
  const [a, b] = [x, y].map((value) => builder.broadcast(value, [...outer, ...value.shape.slice(-2)])) as [
    Value,
    Value,
  ];
  const n = outer.length;
  const [innerA, innerB] = [flag(op, 'adj_x') ? n : n + 1, flag(op, 'adj_y') ? n + 1 : n];
  if (a.shape[innerA] !== b.shape[innerB])
    refuse('internal', `the product of [${x.shape}] and [${y.shape}] does not fit`);
  const rows = a.shape[n + n + 1 - innerA] ?? 1;
  const columns = b.shape[n + n + 1 - innerB] ?? 1;
  const batching = n === 0 ? '' : `batching_dims = [${range(n)}] x [${range(n)}], `;
  // Devices round float32 operands to fewer bits unless they are told not to.
  const precision = x.dtype === 'float32' ? ', precision = [HIGHEST, HIGHEST]' : '';
  const text = `stablehlo.dot_general ${a.name}, ${b.name}, ${batching}contracting_dims = [${innerA}] x [${innerB}]${precision}`;
  const { Tout } = op.attrs;
  const dtype = Tout?.kind === 'type' ? Tout.value : x.dtype;
  return builder.write(text, [a, b], { shape: [...outer, rows, columns], dtype });
}

// Legend of the convolutions: B batch, H height, W width, C channels.

/** All that models have; others are refused rather than computed wrongly. */
function requireSame({ attrs }: LoweredOp): void {
  const isOne = (name: string) => !Array.isArray(attrs[name]?.value) || attrs[name].value.every((step) => step === 1);
  if (attrs.padding?.value !== 'SAME' || !isOne('strides') || !isOne('dilations')) {
    refuse('internal', 'convolutions are lowered with padding SAME and steps of 1 only');
  }
}

/** Padding of an axis by the length of the filter there, so that the length stays. */
type Padding = (length: number) => readonly [number, number];
const PAD_BEFORE: Padding = (length) => [(length - 1) >> 1, length >> 1];
const PAD_AFTER: Padding = (length) => [length >> 1, (length - 1) >> 1];

/** Every channel by itself with its own filter. */
function perChannel(builder: Builder, x_BHWC: Value, filter_HWC1: Value, padding: Padding): Value {
  const [height = 1, width = 1, channels = 1, multiplier = 1] = filter_HWC1.shape;
  if (multiplier !== 1) refuse('internal', 'one filter a channel is lowered, not several');
  const filter_HW1C = builder.reshape(filter_HWC1, [height, width, 1, channels]);
  return convolution(builder, x_BHWC, filter_HW1C, {
    numbers: '[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]',
    padding: [padding(height), padding(width)],
    groups: { batch: 1, feature: channels },
    shape: x_BHWC.shape,
  });
}

/** The batch is summed over as features are; channels are groups of what stands for the batch. */
function filterGradient(builder: Builder, x_BHWC: Value, filterShape: readonly number[], dy_BHWC: Value): Value {
  const [height = 1, width = 1, channels = 1] = filterShape;
  const gradient_HW1C = convolution(builder, x_BHWC, dy_BHWC, {
    numbers: '[f, 0, 1, b]x[i, 0, 1, o]->[0, 1, b, f]',
    padding: [PAD_BEFORE(height), PAD_BEFORE(width)],
    groups: { batch: channels, feature: 1 },
    shape: [height, width, 1, channels],
  });
  return builder.reshape(gradient_HW1C, filterShape);
}

interface Convolution {
  /** Which axis of input, filter and output is what, as StableHLO writes it. */
  readonly numbers: string;
  readonly padding: readonly (readonly [number, number])[];
  readonly groups: { readonly batch: number; readonly feature: number };
  readonly shape: readonly number[];
}

function convolution(
  builder: Builder,
  x: Value,
  filter: Value,
  { numbers, padding, groups, shape }: Convolution,
): Value {
  const pads = padding.map((pair) => `[${pair}]`);
  const window = `{stride = [1, 1], pad = [${pads}]}`;
  const precision =
    x.dtype === 'float32' ? ', precision_config = [#stablehlo<precision HIGHEST>, #stablehlo<precision HIGHEST>]' : '';
  const attributes = `{batch_group_count = ${groups.batch} : i64, feature_group_count = ${groups.feature} : i64${precision}}`;
  const text = `stablehlo.convolution(${x.name}, ${filter.name}) dim_numbers = ${numbers}, window = ${window} ${attributes}`;
  return builder.write(text, [x, filter], { shape, dtype: x.dtype });
}
