// Legend: B batch axes; N, M, K rows, columns and inner width of a product; axes are int32 constants.
import { refuse } from '@weft/common';
import type { DType } from './dtype.js';

/** An op attribute with its kind. */
export type AttrValue =
  | { readonly kind: 'type'; readonly value: DType }
  | { readonly kind: 'bool'; readonly value: boolean }
  | { readonly kind: 'int'; readonly value: number }
  | { readonly kind: 'ints'; readonly value: readonly number[] }
  | { readonly kind: 'float'; readonly value: number }
  | { readonly kind: 'string'; readonly value: string }
  | { readonly kind: 'shape'; readonly value: readonly number[] };

/** Attributes by name. */
export type Attrs = Readonly<Record<string, AttrValue>>;

type AttrKinds = Readonly<Record<string, AttrValue['kind']>>;

const T = { T: 'type' } as const satisfies AttrKinds;

/** Where values come from. */
const SOURCES = {
  /** [] → the bytes of `constantValue`. */
  Const: { dtype: 'type' },
  /** [] → an input of the phase, or the variable that `variable` names. */
  Placeholder: { dtype: 'type', shape: 'shape' },
} as const satisfies Record<string, AttrKinds>;

/** One element of every input makes one of the output; shapes broadcast. */
const ELEMENTWISE = {
  Add: T,
  AddN: { ...T, N: 'int' },
  Sub: T,
  Mul: T,
  RealDiv: T,
  Pow: T,
  /** a − ⌊a/b⌋·b. */
  FloorMod: T,
  Maximum: T,
  Minimum: T,
  Neg: T,
  Square: T,
  Sqrt: T,
  Rsqrt: T,
  Floor: T,
  Exp: T,
  Log: T,
  Sin: T,
  Cos: T,
  Sigmoid: T,
  Tanh: T,
  /** a, b → bool. */
  Equal: T,
  Less: T,
  LessEqual: T,
  GreaterEqual: T,
  LogicalAnd: {},
  /** x of `SrcT` → the same in `DstT`. */
  Cast: { SrcT: 'type', DstT: 'type', Truncate: 'bool' },
} as const satisfies Record<string, AttrKinds>;

/** x, axes → x without those axes, or with length 1 there. */
const REDUCTION = { ...T, Tidx: 'type', keep_dims: 'bool' } as const satisfies AttrKinds;
const ALONG_AXES = {
  Sum: REDUCTION,
  Mean: REDUCTION,
  Max: REDUCTION,
  /** x → probabilities along the last axis. */
  Softmax: T,
  /** x, axis → running sums. */
  Cumsum: { ...T, Tidx: 'type', exclusive: 'bool', reverse: 'bool' },
  /** x, k → the k greatest of the last axis, descending, and their indices. */
  TopKV2: { ...T, sorted: 'bool' },
} as const satisfies Record<string, AttrKinds>;

const PRODUCT = { ...T, adj_x: 'bool', adj_y: 'bool' } as const satisfies AttrKinds;
const CONVOLUTION = {
  ...T,
  strides: 'ints',
  padding: 'string',
  data_format: 'string',
  dilations: 'ints',
} as const satisfies AttrKinds;
const PRODUCTS = {
  /** [B…, N, K], [B…, K, M] → [B…, N, M]; `adj_x`, `adj_y`: that operand is given transposed. */
  BatchMatMulV2: PRODUCT,
  /** The same, and stays float32 whatever the precision; see `preciseMatMul`. */
  BatchMatMul: PRODUCT,
  /** x in NHWC, filter [height, width, channels, 1] → x filtered, each channel by itself. */
  DepthwiseConv2dNative: CONVOLUTION,
  /** Shape of x, filter, dy → dx. */
  DepthwiseConv2dNativeBackpropInput: CONVOLUTION,
  /** x, shape of the filter, dy → dfilter. */
  DepthwiseConv2dNativeBackpropFilter: CONVOLUTION,
} as const satisfies Record<string, AttrKinds>;

/** Elements go elsewhere or are chosen; none is computed. */
const MOVES = {
  /** x, shape. */
  Reshape: { ...T, Tshape: 'type' },
  /** x, axis. */
  ExpandDims: {},
  /** x, permutation. */
  Transpose: { ...T, Tperm: 'type' },
  /** x, begin, size. */
  Slice: { ...T, Index: 'type' },
  /** x, sizes, axis → `num_split` parts. */
  SplitV: { ...T, Tlen: 'type', num_split: 'int' },
  /** `N` parts, axis. */
  ConcatV2: { ...T, Tidx: 'type', N: 'int' },
  /** `N` tensors of one shape → joined along a new axis. */
  Pack: { ...T, N: 'int', axis: 'int' },
  /** Shape, scalar. */
  Fill: { ...T, index_type: 'type' },
  /** Start, limit, step. */
  Range: { Tidx: 'type' },
  /** Indices, depth, value on, value off. */
  OneHot: { ...T, TI: 'type', axis: 'int' },
  /** x, indices, axis → the slices of x at the indices. */
  GatherV2: { Tparams: 'type', Tindices: 'type', Taxis: 'type', batch_dims: 'int' },
  /** x, places [N, rank] → [N]. */
  GatherNd: { Tparams: 'type', Tindices: 'type' },
  /** Indices, updates, shape → zeros with the updates added. */
  ScatterNd: { ...T, Tindices: 'type' },
  /** x, indices, updates → x with the updates added; writes over x where nobody else reads it. */
  ScatterNdNonAliasingAdd: { ...T, Tindices: 'type' },
  /** x, segment of every row, number of segments → the sum of the rows of each; a negative segment is dropped. */
  UnsortedSegmentSum: { ...T, Tindices: 'type', Tnumsegments: 'type' },
} as const satisfies Record<string, AttrKinds>;

/** Weft's own; every result has the shape of the input in its position, but for attention's second. */
const CUSTOM = {
  /**
   * q [B, T, H, C], k, v [B, T, J, C], segments [B, T] or none → what is read [B, T, H, C], and for the gradient the
   * logarithm of Σ exp(score) of every query [B, H, T], float32; see `attention`.
   */
  Attention: { ...T, causal: 'bool', scale: 'float' },
  /** q, k, v, both results, dRead, segments or none → dq, dk, dv. */
  AttentionGrad: { ...T, causal: 'bool', scale: 'float' },
  /** See `adamUpdate` and `adamInputs`. */
  AdamUpdate: T,
  /** dy → dy; see `recomputable`. */
  BlockGradient: { block: 'int' },
} as const satisfies Record<string, AttrKinds>;

/** What only the rewriting passes make. A backend that leaves a pass out never meets its ops. */
const REWRITTEN = {
  /** [N, K], [K, M] → [N, M], from `vectorProducts` and `sumToMatmul`. */
  MatMul: { ...T, transpose_a: 'bool', transpose_b: 'bool' },
  /** x → Σx²/2, a scalar, from `sumsOfSquares`. */
  L2Loss: T,
  /** x, axes → √Σx², from `sumsOfSquares`. */
  EuclideanNorm: REDUCTION,
  /** a, b → a·sigmoid(b), from `fuseSigmoidMul`. */
  SoftplusGrad: T,
  /** x, shift, axis, from `concatToRoll`. */
  Roll: { ...T, Tshift: 'type', Taxis: 'type' },
  /** x → x once `after` has run, from `recompute`. */
  Identity: {},
  /** `Add`, inside of `Loop`s. */
  AddV2: T,
  /** What `body` computes, from `fuseElementwise`. */
  Loop: {},
} as const satisfies Record<string, AttrKinds>;

/**
 * The ops that recordings hold, by family, with the attributes that each may carry: the port between what records a
 * program and the backends that run it. Names, inputs and attributes are those of TensorFlow's op definitions, but for
 * `CUSTOM` and `Loop`. A backend must know every op of the families that it is given; adding one here is adding it there.
 */
export const OP_FAMILIES = {
  sources: SOURCES,
  elementwise: ELEMENTWISE,
  alongAxes: ALONG_AXES,
  products: PRODUCTS,
  moves: MOVES,
  custom: CUSTOM,
  rewritten: REWRITTEN,
} as const;

type Families = typeof OP_FAMILIES;

/** The type of an op of a recording. */
export type OpType = { [Family in keyof Families]: keyof Families[Family] }[keyof Families];

const RECORDED: ReadonlyMap<string, AttrKinds> = new Map(
  Object.entries(OP_FAMILIES).flatMap(([family, ops]) => (family === 'rewritten' ? [] : Object.entries(ops))),
);

/**
 * The type of an op that a kernel of tfjs asks for, once it is known that recordings may hold it.
 * @throws WeftError `internal` for an op or an attribute that is not listed here.
 */
export function recordedOpType(type: string, attrs: Attrs): OpType {
  if (!isRecorded(type))
    refuse(
      'internal',
      'recordings cannot hold this op',
      `write it with other functions of tfjs, or list ${type} in ops.ts and teach it to the backends`,
    );
  for (const [name, { kind }] of Object.entries(attrs)) {
    if (RECORDED.get(type)?.[name] !== kind) refuse('internal', `attribute ${name} of kind ${kind} is not known`);
  }
  return type;
}

function isRecorded(type: string): type is OpType {
  return RECORDED.has(type);
}

/** Whether an op is Weft's own, which no backend's shape inference knows. */
export function isCustomOp(type: OpType): type is keyof typeof CUSTOM {
  return type in CUSTOM;
}
