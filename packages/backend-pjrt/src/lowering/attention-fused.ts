// Legend: B batch, T positions, H query heads, J key-value heads, C width of one head, M segments of a sequence at most,
// N = B·M segments of the batch at most.
import { attentionGradientInputs, attentionInputs } from '@weft/tensor';
import { runningSum } from './along-axes.js';
import { blockwiseAttention, blockwiseAttentionGradient } from './attention-blockwise.js';
import type { Builder } from './builder.js';
import { gatherAlong, gatherPlaces } from './indexing.js';
import { flag, type LoweredOp, number } from './lowering.js';
import { range, type Value } from './value.js';

/**
 * Segments of a sequence that the fused kernel is given at most: the log-sum-exps that it works with take M·T numbers for
 * every head. A batch of more is computed block by block; the device finds that out by itself.
 */
const MOST_SEGMENTS = 64;
/** What cuDNN asks of the width of a head. */
const WIDTH = { multipleOf: 8, most: 128 } as const;

/** Whether cuDNN has a kernel for attention over such queries. */
export function canFuseAttention({ dtype, shape }: Value): boolean {
  const width = shape[3] ?? 0;
  return dtype === 'bfloat16' && width % WIDTH.multipleOf === 0 && width <= WIDTH.most;
}

/**
 * Attention in one kernel of cuDNN, which XLA knows as a custom call, as JAX writes it
 * (https://github.com/jax-ml/jax/blob/main/jax/_src/cudnn/fused_attention_stablehlo.py). Packed segments are told as where
 * each begins and how long it is. Inputs and results are those of `blockwiseAttention`.
 */
export function fusedAttention(builder: Builder, inputs: readonly Value[], op: LoweredOp): readonly Value[] {
  const { q_BTHC, k_BTJC, v_BTJC, segments_BT } = attentionInputs(inputs);
  const [B, T, H, C] = q_BTHC.shape as readonly [number, number, number, number];
  const call = (packing?: Packing) => {
    const statistics = { shape: [B * (packing?.most ?? 1), H, T], dtype: 'float32' } as const;
    const [read_BHTC, logSumExp] = customCall(builder, 'Softmax', q_BTHC, op, packing, {
      operands: [q_BTHC, k_BTJC, v_BTJC],
      heads: [{ shape: [B, H, T, C], dtype: q_BTHC.dtype }],
      statistics: [statistics],
    }) as [Value, Value];
    return [builder.transpose(read_BHTC, [0, 2, 1, 3]), packing === undefined ? logSumExp : packing.unpack(logSumExp)];
  };
  if (segments_BT === undefined) return call();
  return whereItFits(builder, packingOf(builder, segments_BT, q_BTHC, k_BTJC), call, () =>
    blockwiseAttention(builder, inputs, op),
  );
}

/** Its gradient, with the inputs and results of `blockwiseAttentionGradient`. */
export function fusedAttentionGradient(builder: Builder, inputs: readonly Value[], op: LoweredOp): readonly Value[] {
  const { q_BTHC, k_BTJC, v_BTJC, read_BTHC, logSumExp_BHT, dRead_BTHC, segments_BT } = attentionGradientInputs(inputs);
  const headsFirst = ({ shape: [b = 1, t = 1, heads = 1, c = 1], dtype }: Value) => ({
    shape: [b, heads, t, c],
    dtype,
  });
  const call = (packing?: Packing) => {
    const statistics = packing === undefined ? logSumExp_BHT : packing.pack(logSumExp_BHT);
    const gradients = customCall(builder, 'SoftmaxBackward', q_BTHC, op, packing, {
      operands: [q_BTHC, k_BTJC, v_BTJC, statistics, dRead_BTHC, read_BTHC],
      heads: [q_BTHC, k_BTJC, v_BTJC].map(headsFirst),
      statistics: [],
    });
    return gradients.map((gradient) => builder.transpose(gradient, [0, 2, 1, 3]));
  };
  if (segments_BT === undefined) return call();
  return whereItFits(builder, packingOf(builder, segments_BT, q_BTHC, k_BTJC), call, () =>
    blockwiseAttentionGradient(builder, inputs, op),
  );
}

/** How cuDNN is told of the segments of a batch. */
interface Packing {
  /** M. */
  readonly most: number;
  /** Whether there are no more; undefined where there cannot be. */
  readonly fits: Value | undefined;
  /** Lengths of segments, and where they begin in queries and keys, counted in elements. */
  readonly operands: readonly Value[];
  /** [N, H, T], by position in a segment → [B, H, T]. */
  unpack(statistics: Value): Value;
  pack(statistics: Value): Value;
}

/**
 * Segments of all sequences are numbered on from one to the next. Numbers that are left over stand for segments of length
 * 0 at the end of the batch.
 */
export function packingOf(builder: Builder, segments_BT: Value, q_BTHC: Value, k_BTJC: Value): Packing {
  const [B, T, H, C] = q_BTHC.shape as readonly [number, number, number, number];
  const J = k_BTJC.shape[2] ?? 1;
  const M = Math.min(T, MOST_SEGMENTS);
  const N = B * M;
  const int = (value: number) => builder.scalar(value, 'int32');
  const add = (x: Value, y: Value) => builder.binary('add', x, y);
  const minus = (x: Value, y: Value) => builder.binary('subtract', x, y);

  const before_BT = builder.concatenate(
    [builder.slice(segments_BT, [0, 0], [B, 1]), builder.slice(segments_BT, [0, 0], [B, T - 1])],
    1,
  );
  const isFirst_BT = builder.compare('EQ', builder.iota({ shape: [B, T], dtype: 'int32' }, 1), int(0));
  const begins_BT = builder.binary('or', isFirst_BT, builder.compare('NE', segments_BT, before_BT));
  const count = runningSum(builder, builder.reshape(builder.convert(begins_BT, 'int32'), [B * T]), 0);
  /** Of every position: the number of its segment. */
  const slots = minus(count, int(1));
  const positions = builder.iota({ shape: [B * T], dtype: 'int32' }, 0);
  // A segment begins behind all positions of the segments before it.
  const numbers = builder.iota({ shape: [B * (M + 1), B * T], dtype: 'int32' }, 0);
  const isBefore = builder.compare('LT', builder.reshape(slots, [1, B * T]), numbers);
  const offsets = builder.reduce('add', builder.convert(isBefore, 'int32'), [1]);
  const offsetsOfN = builder.slice(offsets, [0], [N]);
  const lengths_BM = builder.reshape(minus(builder.slice(offsets, [1], [N]), offsetsOfN), [B, M]);
  const elements = (heads: number) => builder.reshape(builder.binary('multiply', offsets, int(heads * C)), [B, M + 1]);

  return {
    most: M,
    fits:
      M === T ? undefined : builder.compare('LE', builder.reshape(builder.slice(count, [B * T - 1], [1]), []), int(N)),
    operands: [lengths_BM, lengths_BM, elements(H), elements(J)],
    unpack: (statistics_NHT) => {
      const within = minus(positions, gatherAlong(builder, offsets, slots, 0));
      const places = builder.concatenate(
        [slots, within].map((each) => builder.reshape(each, [B * T, 1])),
        1,
      );
      const rows = builder.reshape(builder.transpose(statistics_NHT, [0, 2, 1]), [N, T, H]);
      return builder.transpose(builder.reshape(gatherPlaces(builder, rows, places), [B, T, H]), [0, 2, 1]);
    },
    pack: (logSumExp_BHT) => {
      const rows = builder.reshape(builder.transpose(logSumExp_BHT, [0, 2, 1]), [B * T, H]);
      const along_NT = builder.iota({ shape: [N, T], dtype: 'int32' }, 1);
      const places_NT = add(builder.broadcastAlong(offsetsOfN, [N, T], [0]), along_NT);
      const last = builder.filled(B * T - 1, { shape: [N, T], dtype: 'int32' });
      const packed_NTH = gatherAlong(builder, rows, builder.binary('minimum', places_NT, last), 0);
      return builder.transpose(packed_NTH, [0, 2, 1]);
    },
  };
}

function whereItFits(
  builder: Builder,
  packing: Packing,
  fused: (packing: Packing) => readonly Value[],
  blockwise: () => readonly Value[],
): readonly Value[] {
  if (packing.fits === undefined) return fused(packing);
  return builder.conditional(packing.fits, () => fused(packing), blockwise);
}

interface Arguments {
  readonly operands: readonly Value[];
  /** Results by head, [B, heads, T, C], that lie in memory as [B, T, heads, C]. */
  readonly heads: readonly Pick<Value, 'shape' | 'dtype'>[];
  readonly statistics: readonly Pick<Value, 'shape' | 'dtype'>[];
}

function customCall(
  builder: Builder,
  kind: 'Softmax' | 'SoftmaxBackward',
  q_BTHC: Value,
  op: LoweredOp,
  packing: Packing | undefined,
  { operands, heads, statistics }: Arguments,
): readonly Value[] {
  const all = [...operands, ...(packing?.operands ?? [])];
  // The last result is cuDNN's own memory; XLA finds its size.
  const workspace = { shape: [0], dtype: 'uint8' } as const;
  const results = [...heads, ...statistics, workspace];
  const inOrder = (shape: readonly number[]) => range(shape.length).reverse();
  const layout = (axes: readonly number[]) => `dense<[${axes}]> : tensor<${axes.length}xindex>`;
  const resultLayouts = [
    ...heads.map(() => [3, 1, 2, 0]),
    ...[...statistics, workspace].map(({ shape }) => inOrder(shape)),
  ];
  const config = JSON.stringify(backendConfig(kind, q_BTHC, op, packing)).replaceAll('"', '\\22');
  const attributes = [
    'api_version = 2 : i32',
    `backend_config = "${config}"`,
    `operand_layouts = [${all.map(({ shape }) => layout(inOrder(shape))).join(', ')}]`,
    `result_layouts = [${resultLayouts.map(layout).join(', ')}]`,
  ];
  const text = `stablehlo.custom_call @__cudnn$fmha${kind}(${all.map(({ name }) => name).join(', ')}) {${attributes.join(', ')}}`;
  return builder.writeMany(text, all, results).slice(0, -1);
}

/** XLA's `CudnnfMHABackendConfig` (xla/service/gpu/backend_configs.proto), as JAX fills it in. */
function backendConfig(
  kind: 'Softmax' | 'SoftmaxBackward',
  q_BTHC: Value,
  op: LoweredOp,
  packing: Packing | undefined,
) {
  const [B, T, H] = q_BTHC.shape as readonly [number, number, number, number];
  const isBackward = kind === 'SoftmaxBackward';
  const causal = flag(op, 'causal') ? 'CAUSAL' : 'NO_MASK';
  const packed = flag(op, 'causal') ? 'PADDING_CAUSAL' : 'PADDING';
  return {
    operation_queue_id: '0',
    cudnn_fmha_backend_config: {
      algorithm: {
        algo_id: '0',
        math_type: 'TENSOR_OP_MATH',
        tuning_knobs: { 17: '1', 24: '0' },
        is_cudnn_frontend: true,
        workspace_size: '0',
      },
      fmha_scale: number(op, 'scale'),
      intermediate_tensor_shape: {
        element_type: 'BF16',
        dimensions: [B, H, T, T].map(String),
        tuple_shapes: [],
        layout: {
          dim_level_types: [],
          dim_unique: [],
          dim_ordered: [],
          minor_to_major: ['3', '2', '1', '0'],
          tiles: [],
          element_size_in_bits: '0',
          memory_space: '0',
          index_primitive_type: 'PRIMITIVE_TYPE_INVALID',
          pointer_primitive_type: 'PRIMITIVE_TYPE_INVALID',
          dynamic_shape_metadata_prefix_bytes: '0',
        },
        is_dynamic_dimension: [false, false, false, false],
      },
      is_flash_attention: true,
      mask_type: packing === undefined ? causal : packed,
      ...(isBackward ? BACKWARD_PRODUCTS : FORWARD_PRODUCTS),
      dropout_rate: 0,
      seed: 42,
      sliding_window_length: 0,
      max_seg_per_batch: packing?.most ?? 1,
      is_paged_attention: false,
    },
  };
}

/** The axes of a product: summed over in both operands, and shared by them. */
function product(left: number, right: number, batchLeft: readonly number[], batchRight: readonly number[]) {
  return {
    lhs_contracting_dimensions: [`${left}`],
    rhs_contracting_dimensions: [`${right}`],
    lhs_batch_dimensions: batchLeft.map(String),
    rhs_batch_dimensions: batchRight.map(String),
  };
}

const FORWARD_PRODUCTS = {
  bmm1_dot_dimension_numbers: product(3, 3, [0, 2], [0, 2]),
  bmm2_dot_dimension_numbers: product(3, 1, [0, 1], [0, 2]),
};
const BACKWARD_PRODUCTS = {
  bmm1_grad_gemm1_dot_dimension_numbers: product(2, 1, [0, 1], [0, 2]),
  bmm1_grad_gemm2_dot_dimension_numbers: product(3, 1, [0, 1], [0, 2]),
  bmm2_grad_gemm1_dot_dimension_numbers: product(2, 1, [0, 1], [0, 2]),
  bmm2_grad_gemm2_dot_dimension_numbers: product(3, 3, [0, 2], [0, 2]),
};
