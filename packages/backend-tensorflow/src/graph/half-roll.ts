import { intsIn, type RecordedOp, type ValueInfo } from '@weft/tensor';
import type { OutputPointer, Pointer } from '../native/c-api.js';
import type { GraphWriter } from './graph-writer.js';

/** Whether an op of a loop rolls the last axis by half of it. */
export function isSwap({ type, inputs }: RecordedOp, ops: readonly RecordedOp[], { shape }: ValueInfo): boolean {
  const [, shift, axis] = inputs;
  const constant = (value: number | undefined) => {
    const payload = ops.find(({ outputs }) => outputs[0] === value)?.payload;
    return payload === undefined ? Number.NaN : intsIn(payload)[0];
  };
  const [last, length] = [shape.length - 1, shape.at(-1) ?? 0];
  return type === 'Roll' && constant(shift) === length / 2 && [last, -1].includes(constant(axis) ?? Number.NaN);
}

/**
 * The last axis with its halves the other way round, as XLA compiles it well: of a `Roll` it makes a copy of twice the
 * tensor (2.2 ms instead of 0.3 for rotary embedding over 2,048 rows of 512).
 */
export function addSwappedHalves(
  writer: GraphWriter,
  name: string,
  x: OutputPointer,
  { shape, dtype }: ValueInfo,
): Pointer {
  const T = { kind: 'type', value: dtype } as const;
  const int = { kind: 'type', value: 'int32' } as const;
  const half = (shape.at(-1) ?? 0) / 2;
  const ints = (suffix: string, array: number[], dimensions: number[]): OutputPointer => {
    const output: ValueInfo = { shape: dimensions, dtype: 'int32' };
    const payload = new Uint8Array(Int32Array.from(array).buffer);
    return {
      operation: writer.add(`${name}/${suffix}`, { type: 'Const', attrs: { dtype: int }, payload, output }, []),
      index: 0,
    };
  };
  const axis = ints('axis', [shape.length - 1], []);
  const split = writer.add(
    `${name}/split`,
    { type: 'SplitV', attrs: { T, Tlen: int, num_split: { kind: 'int', value: 2 } } },
    [x, ints('sizes', [half, half], [2]), axis],
  );
  const [first, second] = [
    { operation: split, index: 0 },
    { operation: split, index: 1 },
  ];
  return writer.add(name, { type: 'ConcatV2', attrs: { T, Tidx: int, N: { kind: 'int', value: 2 } } }, [
    second,
    first,
    axis,
  ]);
}
