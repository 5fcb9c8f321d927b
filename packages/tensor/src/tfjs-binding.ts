import { dtypeOfTensorflow, TENSORFLOW_DTYPES } from './dtype.js';
import type { AttrValue } from './ops.js';

/** What tfjs-node's kernels pass as the attribute of an op: `type` is one of the `TF_ATTR_…` numbers of the binding. */
export interface TfjsAttr {
  readonly name: string;
  readonly type: number;
  readonly value: unknown;
}

/** What tfjs-node's backend wants to know of an op's output. */
export interface TfjsTensorMetadata {
  readonly id: number;
  readonly shape: number[];
  readonly dtype: number;
}

const ATTR = { string: 0, int: 1, float: 2, bool: 3, type: 4, shape: 5 } as const;

/** The constants that tfjs-node's kernels read off their binding. */
export const BINDING_CONSTANTS = {
  TF_FLOAT: TENSORFLOW_DTYPES.float32,
  TF_INT32: TENSORFLOW_DTYPES.int32,
  TF_UINT8: TENSORFLOW_DTYPES.uint8,
  TF_STRING: TENSORFLOW_DTYPES.string,
  TF_COMPLEX64: TENSORFLOW_DTYPES.complex64,
  TF_INT64: TENSORFLOW_DTYPES.int64,
  TF_BOOL: TENSORFLOW_DTYPES.bool,
  TF_RESOURCE: TENSORFLOW_DTYPES.resource,
  TF_ATTR_STRING: ATTR.string,
  TF_ATTR_INT: ATTR.int,
  TF_ATTR_FLOAT: ATTR.float,
  TF_ATTR_BOOL: ATTR.bool,
  TF_ATTR_TYPE: ATTR.type,
  TF_ATTR_SHAPE: ATTR.shape,
} as const;

/** The object behind `NodeJSKernelBackend`: it receives every op of every kernel. */
export interface TfjsBinding {
  isUsingGpuDevice(): boolean;
  createTensor(shape: number[], dtype: number, values: ArrayBufferView | ArrayBuffer): number;
  deleteTensor(id: number): void;
  tensorDataSync(id: number): Float32Array | Int32Array | Uint8Array;
  executeOp(type: string, attrs: readonly TfjsAttr[], inputs: readonly number[], outputs: number): TfjsTensorMetadata[];
  /** What is executed until `endBlock` belongs to a block of its own, whose number it returns; only where ops are noted. */
  beginBlock?(): number;
  endBlock?(): void;
}

/** Attributes in our form; those that a kernel left empty are dropped. */
export function attrsFromTfjs(attrs: readonly TfjsAttr[]): Record<string, AttrValue> {
  const converted: Record<string, AttrValue> = {};
  for (const { name, type, value } of attrs) {
    if (value === undefined || value === null) continue;
    const attr = attrFromTfjs(type, value);
    if (attr !== undefined) converted[name] = attr;
  }
  return converted;
}

function attrFromTfjs(type: number, value: unknown): AttrValue | undefined {
  switch (type) {
    case ATTR.type:
      return { kind: 'type', value: dtypeOfTensorflow(Number(value)) };
    case ATTR.bool:
      return { kind: 'bool', value: Boolean(value) };
    case ATTR.float:
      return { kind: 'float', value: Number(value) };
    case ATTR.string:
      return { kind: 'string', value: String(value) };
    case ATTR.int:
      return Array.isArray(value) ? { kind: 'ints', value: value.map(Number) } : { kind: 'int', value: Number(value) };
    case ATTR.shape:
      return Array.isArray(value) ? { kind: 'shape', value: value.map(Number) } : undefined;
    default:
      return undefined;
  }
}

/** The bytes of a constant as TensorFlow wants them; tfjs hands 64-bit scalars over as an `Int32Array`. */
export function constantBytes(dtype: number, values: ArrayBufferView | ArrayBuffer): Uint8Array {
  if (dtype === TENSORFLOW_DTYPES.int64 && values instanceof Int32Array) {
    return new Uint8Array(BigInt64Array.from(values, BigInt).buffer);
  }
  if (values instanceof ArrayBuffer) return new Uint8Array(values.slice(0));
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength).slice();
}
