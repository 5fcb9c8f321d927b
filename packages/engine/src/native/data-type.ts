import { WeftError } from '@weft/common';
import { elementCount } from '../program.js';

/** TensorFlow's `TF_DataType` numbers that Weft meets. */
export const DataType = {
  float32: 1,
  int32: 3,
  uint8: 4,
  string: 7,
  complex64: 8,
  int64: 9,
  bool: 10,
  bfloat16: 14,
  resource: 20,
} as const;

export type DataTypeName = keyof typeof DataType;

const ELEMENT_BYTES: Readonly<Record<number, number>> = {
  [DataType.float32]: 4,
  [DataType.int32]: 4,
  [DataType.uint8]: 1,
  [DataType.int64]: 8,
  [DataType.bool]: 1,
  [DataType.bfloat16]: 2,
};

/** Bytes of a dense tensor. @throws WeftError `internal` for types without a fixed element size. */
export function byteSize(dataType: number, shape: readonly number[]): number {
  const bytes = ELEMENT_BYTES[dataType];
  if (bytes === undefined) throw new WeftError('internal', `TensorFlow type ${dataType} has no fixed element size`);
  return bytes * elementCount(shape);
}
