import { refuse, WeftError } from '@weft/common';
import type { RecordedOp } from '@weft/tensor';
import { ALONG_AXES } from './along-axes.js';
import { ATTENTION } from './attention.js';
import type { Builder } from './builder.js';
import { CUSTOM } from './custom.js';
import { ELEMENTWISE } from './elementwise.js';
import type { LoweredType, Lowering } from './lowering.js';
import { MOVES } from './moves.js';
import { PRODUCTS } from './products.js';
import { typeOf, type Value } from './value.js';

/** How every op of a recording is written. */
export const LOWERINGS: Readonly<Record<LoweredType, Lowering>> = {
  ...ELEMENTWISE,
  ...ALONG_AXES,
  ...PRODUCTS,
  ...MOVES,
  ...CUSTOM,
  ...ATTENTION,
};

/**
 * Writes one op of a recording.
 * @param after the values of its `after`
 * @throws WeftError `internal` with the op and the types of its inputs, when it is not lowered or its inputs do not fit
 */
export function lowerOp(
  builder: Builder,
  { type, attrs }: Pick<RecordedOp, 'type' | 'attrs'>,
  inputs: readonly Value[],
  after: readonly Value[] = [],
): readonly Value[] {
  const lowering: Lowering =
    (LOWERINGS as Partial<Record<string, Lowering>>)[type] ?? refuse('internal', `${type} is not lowered to StableHLO`);
  try {
    return [lowering(builder, inputs, { attrs, after })].flat();
  } catch (thrown) {
    const { code, message } = WeftError.from(thrown);
    throw new WeftError(code, `op ${type} over (${inputs.map(typeOf).join(', ')}): ${message}`, { cause: thrown });
  }
}
