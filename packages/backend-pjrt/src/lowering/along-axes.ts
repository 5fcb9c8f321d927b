import { elementCount, type OP_FAMILIES } from '@weft/tensor';
import type { Builder } from './builder.js';
import { flag, input, type LoweredOp, type Lowering, pair } from './lowering.js';
import { axisOf, constantInt, constantInts, range, type Value } from './value.js';

/** Axes are folded, or run along. */
export const ALONG_AXES: Record<keyof (typeof OP_FAMILIES)['alongAxes'], Lowering> = {
  Sum: (builder, inputs, op) => reduction(builder, 'add', inputs, op),
  Max: (builder, inputs, op) => reduction(builder, 'maximum', inputs, op),
  Mean: (builder, inputs, op) => {
    const sum = reduction(builder, 'add', inputs, op);
    const [x] = inputs as readonly [Value];
    return builder.binary('divide', sum, builder.scalar(elementCount(x.shape) / elementCount(sum.shape), x.dtype));
  },
  Softmax: (builder, inputs) => softmax(builder, input(inputs, 0)),
  Cumsum: (builder, inputs, op) => {
    const [x, axis] = pair(inputs);
    const [exclusive, reverse] = [flag(op, 'exclusive'), flag(op, 'reverse')];
    return runningSum(builder, x, axisOf(constantInt(axis, 'the axis'), x.shape.length), { exclusive, reverse });
  },
  TopKV2: (builder, inputs) => {
    const [x, count] = pair(inputs);
    const k = constantInt(count, 'the number of greatest elements');
    const shape = x.shape.with(-1, k);
    return builder.writeMany(
      `"chlo.top_k"(${x.name}) <{k = ${k} : i64}>`,
      [x],
      [
        { shape, dtype: x.dtype },
        { shape, dtype: 'int32' },
      ],
    );
  },
};

function reduction(builder: Builder, fold: 'add' | 'maximum', inputs: readonly Value[], op: LoweredOp): Value {
  const [x, axesInput] = pair(inputs);
  const axes = constantInts(axesInput, 'axes').map((axis) => axisOf(axis, x.shape.length));
  const folded = builder.reduce(fold, x, axes);
  if (!flag(op, 'keep_dims')) return folded;
  return builder.reshape(
    folded,
    x.shape.map((size, axis) => (axes.includes(axis) ? 1 : size)),
  );
}

/** In float32 whatever the type: sums of many small numbers. */
function softmax(builder: Builder, x: Value): Value {
  const last = x.shape.length - 1;
  const kept = x.shape.with(-1, 1);
  const whole = builder.convert(x, 'float32');
  const greatest = builder.reshape(builder.reduce('maximum', whole, [last]), kept);
  const exponentials = builder.unary('exponential', builder.binary('subtract', whole, greatest));
  const sum = builder.reshape(builder.reduce('add', exponentials, [last]), kept);
  return builder.convert(builder.binary('divide', exponentials, sum), x.dtype);
}

/** Sums of what lies before, itself included: a window as long as the axis, over an axis that is padded on the side where sums begin. */
export function runningSum(
  builder: Builder,
  x: Value,
  along: number,
  { exclusive = false, reverse = false } = {},
): Value {
  const size = x.shape[along] ?? 1;
  const [before, after] = exclusive ? [size, -1] : [size - 1, 0];
  const padding = reverse ? [after, before] : [before, after];
  const pads = range(x.shape.length).map((axis) => (axis === along ? `[${padding}]` : '[0, 0]'));
  const window = range(x.shape.length).map((axis) => (axis === along ? size : 1));
  const zero = builder.scalar(0, x.dtype);
  const attributes = `window_dimensions = array<i64: ${window}>, padding = dense<[${pads}]> : tensor<${pads.length}x2xi64>`;
  const text = `"stablehlo.reduce_window"(${x.name}, ${zero.name}) <{${attributes}}> ${builder.addRegion(x.dtype)}`;
  return builder.write(text, [x, zero], x);
}
