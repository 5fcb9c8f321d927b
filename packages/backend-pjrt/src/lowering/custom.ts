import { adamInputs, type OP_FAMILIES } from '@weft/tensor';
import type { ATTENTION } from './attention.js';
import type { Builder } from './builder.js';
import { input, type Lowering } from './lowering.js';
import type { Value } from './value.js';

/** Weft's own ops, and the barrier of blocks that are computed twice. */
export const CUSTOM: Record<
  Exclude<keyof (typeof OP_FAMILIES)['custom'], keyof typeof ATTENTION> | 'Identity',
  Lowering
> = {
  AdamUpdate: (builder, inputs) => adamUpdate(builder, inputs),
  BlockGradient: (_builder, inputs) => input(inputs, 0),
  // Without the barrier XLA would merge the second pass over a block with the first.
  Identity: (builder, inputs, { after }) =>
    after.length === 0 ? input(inputs, 0) : input(builder.barrier([input(inputs, 0), ...after]), 0),
};

/** The formula of `adamUpdate` in the order in which TensorFlow's kernel computes it; ε is the kernel's. */
function adamUpdate(builder: Builder, inputs: readonly Value[]): readonly Value[] {
  const { p, m, v, gradient, gradientScale, power1, power2, learningRate, beta1, beta2, epsilon, kept } =
    adamInputs(inputs);
  const [add, sub, mul, div] = (['add', 'subtract', 'multiply', 'divide'] as const).map(
    (op) => (a: Value, b: Value) => builder.binary(op, a, b),
  ) as [Binary, Binary, Binary, Binary];
  const one = builder.scalar(1, 'float32');
  const scaled = mul(gradient, gradientScale);
  const newM = add(m, mul(sub(scaled, m), sub(one, beta1)));
  const newV = add(v, mul(sub(mul(scaled, scaled), v), sub(one, beta2)));
  const stepSize = div(mul(learningRate, builder.unary('sqrt', sub(one, power2))), sub(one, power1));
  const step = div(mul(newM, stepSize), add(builder.unary('sqrt', newV), epsilon));
  return [sub(kept === undefined ? p : mul(p, kept), step), newM, newV];
}

type Binary = (a: Value, b: Value) => Value;
