import { refuse } from '@weft/common';
import type { OP_FAMILIES } from '@weft/tensor';
import type { Builder, Comparison } from './builder.js';
import { input, type Lowering, pair } from './lowering.js';

import type { Value } from './value.js';

const unary =
  (op: string): Lowering =>
  (builder, inputs) =>
    builder.unary(op, input(inputs, 0));

const binary =
  (op: string): Lowering =>
  (builder, inputs) =>
    builder.binary(op, ...pair(inputs));

const comparison =
  (how: Comparison): Lowering =>
  (builder, inputs) =>
    builder.compare(how, ...pair(inputs));

/** One element of every input makes one of the output. */
export const ELEMENTWISE: Record<keyof (typeof OP_FAMILIES)['elementwise'], Lowering> = {
  Add: binary('add'),
  AddN: (builder, inputs) => inputs.reduce((sum, x) => builder.binary('add', sum, x)),
  Sub: binary('subtract'),
  Mul: binary('multiply'),
  RealDiv: binary('divide'),
  Pow: binary('power'),
  FloorMod: (builder, inputs) => floorMod(builder, ...pair(inputs)),
  Maximum: binary('maximum'),
  Minimum: binary('minimum'),
  Neg: unary('negate'),
  Square: (builder, inputs) => builder.binary('multiply', input(inputs, 0), input(inputs, 0)),
  Sqrt: unary('sqrt'),
  Rsqrt: unary('rsqrt'),
  Floor: unary('floor'),
  Exp: unary('exponential'),
  Log: unary('log'),
  Sin: unary('sine'),
  Cos: unary('cosine'),
  Sigmoid: unary('logistic'),
  Tanh: unary('tanh'),
  Equal: comparison('EQ'),
  Less: comparison('LT'),
  LessEqual: comparison('LE'),
  GreaterEqual: comparison('GE'),
  LogicalAnd: binary('and'),
  Cast: (builder, inputs, { attrs: { DstT } }) =>
    builder.convert(input(inputs, 0), DstT?.kind === 'type' ? DstT.value : refuse('internal', 'a cast has no type')),
};

/** The remainder has the sign of the dividend; where that is not the divisor's, one divisor more is the result. */
function floorMod(builder: Builder, a: Value, b: Value): Value {
  const remainder = builder.binary('remainder', a, b);
  const zero = builder.scalar(0, a.dtype);
  const isNegative = (x: Value) => builder.compare('LT', x, zero);
  const isOther = builder.compare('NE', isNegative(remainder), isNegative(b));
  const isLeft = builder.compare('NE', remainder, zero);
  return builder.select(builder.binary('and', isOther, isLeft), builder.binary('add', remainder, b), remainder);
}
