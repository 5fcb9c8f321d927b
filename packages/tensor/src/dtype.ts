import { WeftError } from '@weft/common';
import { elementCount } from './program.js';

/** Element types that recorded ops read and write. Only float32 and int32 cross the border of a phase. */
export type DType = (typeof DTYPES)[number];

const DTYPES = ['float32', 'int32', 'uint8', 'string', 'complex64', 'int64', 'bool', 'bfloat16', 'resource'] as const;

const ELEMENT_BYTES: Readonly<Partial<Record<DType, number>>> = {
  float32: 4,
  int32: 4,
  uint8: 1,
  int64: 8,
  bool: 1,
  bfloat16: 2,
};

/** Bytes of a dense tensor. @throws WeftError `internal` for types without a fixed element size. */
export function byteSize(dtype: DType, shape: readonly number[]): number {
  const bytes = ELEMENT_BYTES[dtype];
  if (bytes === undefined) throw new WeftError('internal', `elements of type ${dtype} have no fixed size`);
  return bytes * elementCount(shape);
}

/** TensorFlow's numbers for them (`TF_DataType`), which tfjs-node's kernels use too. */
export const TENSORFLOW_DTYPES: Readonly<Record<DType, number>> = {
  float32: 1,
  int32: 3,
  uint8: 4,
  string: 7,
  complex64: 8,
  int64: 9,
  bool: 10,
  bfloat16: 14,
  resource: 20,
};

/** The type of one of TensorFlow's numbers. @throws WeftError `internal` for a number of a type that Weft does not use. */
export function dtypeOfTensorflow(number: number): DType {
  const found = DTYPES.find((dtype) => TENSORFLOW_DTYPES[dtype] === number);
  if (found === undefined) throw new WeftError('internal', `TensorFlow type ${number} is not supported`);
  return found;
}
