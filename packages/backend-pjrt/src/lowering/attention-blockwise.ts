// Legend: B batch, T positions (P with padding), H query heads, J key-value heads, G = H/J queries per key, C width of one
// head, R rows of a block of queries, S columns of a block of keys, N blocks.
import { attentionGradientInputs, attentionInputs, type DType } from '@weft/tensor';
import type { Builder } from './builder.js';
import { flag, type LoweredOp, number } from './lowering.js';
import { range, type Value } from './value.js';

/** Positions of a block, at most: scores of R·S float32 for every head lie in memory at a time. */
const LARGEST_BLOCK = 512;
/** Far below any score; what a row gathered from a block in which it may read nothing is wiped out by its own block. */
const MASKED_SCORE = -1e9;

/**
 * Attention block by block: the scores of one block of queries with one block of keys are in memory at a time, and the sums
 * of the softmax are corrected whenever a greater score appears (Milakov and Gimelshein, 2018; Rabe and Staats, 2021; Dao
 * et al., 2022). Memory grows with T, not T². Blocks of keys that are later than all queries are left out.
 * @param largestBlock positions of a block, at most
 * @returns what is read [B, T, H, C] and the log-sum-exp of the scores [B, H, T]
 */
export function blockwiseAttention(
  builder: Builder,
  inputs: readonly Value[],
  op: LoweredOp,
  largestBlock = LARGEST_BLOCK,
): readonly Value[] {
  const { k_BTJC, v_BTJC, segments_BT, ...given } = attentionInputs(inputs);
  const [q_BTHC, filled] = withZeros(builder, given.q_BTHC);
  const plan = planOf(builder, q_BTHC, k_BTJC, segments_BT, op, largestBlock);
  const { B, J, G, P, C, R, N } = plan;
  const q_BJGPC = plan.queries(q_BTHC);
  const [k_BJPC, v_BJPC] = [plan.keys(k_BTJC), plan.keys(v_BTJC)];
  const real = (shape: readonly number[], dtype = q_BTHC.dtype) => builder.filled(0, { shape, dtype });

  const results = builder.loop(
    plan.index(0),
    plan.index(N),
    [filled([B, J, G, P, C], q_BTHC.dtype), filled([B, J, G, P], 'float32')],
    (i, carried) => {
      const [read_BJGPC, logSumExp_BJGP] = carried as [Value, Value];
      const q_BJGRC = plan.block(q_BJGPC, i, 3);
      const start = [
        builder.filled(MASKED_SCORE, { shape: [B, J, G, R], dtype: 'float32' }),
        real([B, J, G, R], 'float32'),
        real([B, J, G, R, C], 'float32'),
      ];
      const [greatest, sum, read] = builder.loop(plan.index(0), plan.keysEnd(i), start, (j, within) => {
        const [greatest_BJGR, sum_BJGR, read_BJGRC] = within as [Value, Value, Value];
        const scores_BJGRS = plan.scores(q_BJGRC, plan.block(k_BJPC, j, 2), i, j);
        const newGreatest = builder.binary('maximum', greatest_BJGR, builder.reduce('maximum', scores_BJGRS, [4]));
        const weights_BJGRS = builder.unary('exponential', plan.less(scores_BJGRS, newGreatest));
        const correction = builder.unary('exponential', builder.binary('subtract', greatest_BJGR, newGreatest));
        const newSum = builder.binary(
          'add',
          builder.binary('multiply', sum_BJGR, correction),
          builder.reduce('add', weights_BJGRS, [4]),
        );
        const narrow = builder.convert(weights_BJGRS, v_BTJC.dtype);
        const more_BJGRC = product(builder, narrow, plan.block(v_BJPC, j, 2), [4], [2]);
        return [newGreatest, newSum, builder.binary('add', plan.times(read_BJGRC, correction), more_BJGRC)];
      }) as [Value, Value, Value];
      const whole_BJGRC = builder.binary('divide', read, plan.perRow(sum, read.shape));
      const logSumExp_BJGR = builder.binary('add', greatest, builder.unary('log', sum));
      return [
        plan.put(read_BJGPC, builder.convert(whole_BJGRC, q_BTHC.dtype), i, 3),
        plan.put(logSumExp_BJGP, logSumExp_BJGR, i, 3),
      ];
    },
  ) as [Value, Value];
  return [plan.positions(results[0]), plan.perHead(results[1])];
}

/**
 * Its gradient: the weights of every block are computed again from the log-sum-exp, and blocks of queries add up what they
 * ask of one block of keys (Dao, 2023, FlashAttention-2).
 * @returns the gradients of queries, keys and values
 */
export function blockwiseAttentionGradient(
  builder: Builder,
  inputs: readonly Value[],
  op: LoweredOp,
  largestBlock = LARGEST_BLOCK,
): readonly Value[] {
  const { k_BTJC, v_BTJC, read_BTHC, logSumExp_BHT, dRead_BTHC, segments_BT, ...given } =
    attentionGradientInputs(inputs);
  const [q_BTHC, filled] = withZeros(builder, given.q_BTHC);
  const plan = planOf(builder, q_BTHC, k_BTJC, segments_BT, op, largestBlock);
  const { B, J, G, P, C, S, N } = plan;
  const [q_BJGPC, dRead_BJGPC] = [plan.queries(q_BTHC), plan.queries(dRead_BTHC)];
  const [k_BJPC, v_BJPC] = [plan.keys(k_BTJC), plan.keys(v_BTJC)];
  const logSumExp_BJGP = plan.heads(logSumExp_BHT);
  const wide = (x: Value) => builder.convert(x, 'float32');
  const readTimesDRead = builder.binary('multiply', wide(plan.queries(read_BTHC)), wide(dRead_BJGPC));
  const mean_BJGP = builder.reduce('add', readTimesDRead, [4]);
  const zeros = (shape: readonly number[]) => builder.filled(0, { shape, dtype: 'float32' });

  const kept = filled([B, J, P, C], k_BTJC.dtype);
  const start = [filled([B, J, G, P, C], 'float32'), kept, kept];
  const results = builder.loop(plan.index(0), plan.index(N), start, (j, carried) => {
    const [dqBefore, dk_BJPC, dv_BJPC] = carried as [Value, Value, Value];
    const [k_BJSC, v_BJSC] = [plan.block(k_BJPC, j, 2), plan.block(v_BJPC, j, 2)];
    const within = [dqBefore, zeros([B, J, S, C]), zeros([B, J, S, C])];
    const [dq, dk, dv] = builder.loop(plan.queriesBegin(j), plan.index(N), within, (i, sums) => {
      const [dq_BJGPC, dk_BJSC, dv_BJSC] = sums as [Value, Value, Value];
      const [q_BJGRC, dRead_BJGRC] = [plan.block(q_BJGPC, i, 3), plan.block(dRead_BJGPC, i, 3)];
      const scores_BJGRS = plan.scores(q_BJGRC, k_BJSC, i, j);
      const weights_BJGRS = builder.unary('exponential', plan.less(scores_BJGRS, plan.block(logSumExp_BJGP, i, 3)));
      const dWeights_BJGRS = product(builder, dRead_BJGRC, v_BJSC, [4], [3]);
      const dScores_BJGRS = builder.binary(
        'multiply',
        weights_BJGRS,
        plan.less(dWeights_BJGRS, plan.block(mean_BJGP, i, 3)),
      );
      const narrow = builder.convert(plan.scaled(dScores_BJGRS), q_BTHC.dtype);
      const dq_BJGRC = builder.binary('add', plan.block(dq_BJGPC, i, 3), product(builder, narrow, k_BJSC, [4], [2]));
      const weights = builder.convert(weights_BJGRS, q_BTHC.dtype);
      return [
        plan.put(dq_BJGPC, dq_BJGRC, i, 3),
        builder.binary('add', dk_BJSC, product(builder, narrow, q_BJGRC, [2, 3], [2, 3])),
        builder.binary('add', dv_BJSC, product(builder, weights, dRead_BJGRC, [2, 3], [2, 3])),
      ];
    }) as [Value, Value, Value];
    return [
      dq,
      plan.put(dk_BJPC, builder.convert(dk, k_BTJC.dtype), j, 2),
      plan.put(dv_BJPC, builder.convert(dv, v_BTJC.dtype), j, 2),
    ];
  }) as [Value, Value, Value];
  const [dq_BJGPC, dk_BJPC, dv_BJPC] = results;
  return [
    plan.positions(builder.convert(dq_BJGPC, q_BTHC.dtype)),
    plan.positions(builder.reshape(dk_BJPC, [B, J, 1, P, C])),
    plan.positions(builder.reshape(dv_BJPC, [B, J, 1, P, C])),
  ];
}

/**
 * A value, and zeros that are not there before it is: XLA would else make the zeros of all layers at once, in the
 * beginning, and they would wait for their layers.
 */
function withZeros(builder: Builder, x: Value) {
  const types = ['float32', 'bfloat16'] as const;
  const [same, ...zeros] = builder.barrier([x, ...types.map((dtype) => builder.scalar(0, dtype))]);
  const filled = (shape: readonly number[], dtype: DType) => {
    const zero = zeros.find((each) => each.dtype === dtype) ?? builder.scalar(0, dtype);
    return builder.broadcast(zero, shape);
  };
  return [same ?? x, filled] as const;
}

/** Products of the heads, summed in float32 whatever the type. */
function product(builder: Builder, x: Value, y: Value, left: readonly number[], right: readonly number[]): Value {
  const rest = (shape: readonly number[], gone: readonly number[]) =>
    shape.filter((_, axis) => axis > 1 && !gone.includes(axis));
  const shape = [...x.shape.slice(0, 2), ...rest(x.shape, left), ...rest(y.shape, right)];
  const precision = x.dtype === 'float32' ? ', precision = [HIGHEST, HIGHEST]' : '';
  const text = `stablehlo.dot_general ${x.name}, ${y.name}, batching_dims = [0, 1] x [0, 1], contracting_dims = [${left}] x [${right}]${precision}`;
  return builder.write(text, [x, y], { shape, dtype: 'float32' });
}

/** How positions are cut, and what both passes do with a block. */
function planOf(
  builder: Builder,
  q_BTHC: Value,
  k_BTJC: Value,
  segments_BT: Value | undefined,
  op: LoweredOp,
  largestBlock: number,
) {
  const [B = 1, T = 1, H = 1, C = 1] = q_BTHC.shape;
  const J = k_BTJC.shape[2] ?? 1;
  const G = H / J;
  const N = Math.ceil(T / largestBlock);
  const R = Math.ceil(T / N);
  const P = N * R;
  const isCausal = flag(op, 'causal');
  const scale = number(op, 'scale');
  const int = (value: number) => builder.scalar(value, 'int32');
  const padded = (x: Value, axis: number) => {
    if (P === T) return x;
    const zeros = builder.filled(0, { shape: x.shape.with(axis, P - T), dtype: x.dtype });
    return builder.concatenate([x, zeros], axis);
  };
  const segments_BP = segments_BT === undefined ? undefined : padded(segments_BT, 1);
  const starts = (rank: number, axis: number, i: Value) => {
    const zero = int(0);
    const start = builder.binary('multiply', i, int(R));
    return range(rank).map((at) => (at === axis ? start : zero));
  };
  const block = (x: Value, i: Value, axis: number) =>
    builder.dynamicSlice(x, starts(x.shape.length, axis, i), x.shape.with(axis, R));
  const perRow = (x: Value, shape: readonly number[]) => builder.broadcast(builder.reshape(x, [...x.shape, 1]), shape);
  const scaled = (x: Value) => builder.binary('multiply', x, builder.scalar(scale, 'float32'));

  /** Which queries of block i (rows) may read which keys of block j (columns); undefined where all may. */
  const isAllowed = (i: Value, j: Value): Value | undefined => {
    const positions = (of: Value, axis: number) =>
      builder.binary(
        'add',
        builder.iota({ shape: [R, R], dtype: 'int32' }, axis),
        builder.binary('multiply', of, int(R)),
      );
    const conditions: Value[] = [];
    if (isCausal) conditions.push(builder.compare('LE', positions(j, 1), positions(i, 0)));
    else if (P !== T) conditions.push(builder.compare('LT', positions(j, 1), int(T)));
    if (segments_BP !== undefined) {
      const rows = builder.reshape(block(segments_BP, i, 1), [B, R, 1]);
      conditions.push(builder.compare('EQ', rows, builder.reshape(block(segments_BP, j, 1), [B, 1, R])));
    }
    const [first, second] = conditions;
    if (first === undefined || second === undefined) return first;
    return builder.binary('and', first, second);
  };

  return {
    B,
    J,
    G,
    P,
    C,
    R,
    N,
    S: R,
    index: int,
    /** Blocks of keys that block i of queries reads. */
    keysEnd: (i: Value) => (isCausal ? builder.binary('add', i, int(1)) : int(N)),
    /** The first block of queries that reads block j of keys. */
    queriesBegin: (j: Value) => (isCausal ? j : int(0)),
    queries: (x_BTHC: Value) => builder.transpose(builder.reshape(padded(x_BTHC, 1), [B, P, J, G, C]), [0, 2, 3, 1, 4]),
    keys: (x_BTJC: Value) => builder.transpose(padded(x_BTJC, 1), [0, 2, 1, 3]),
    heads: (x_BHT: Value) => builder.reshape(padded(x_BHT, 2), [B, J, G, P]),
    /** [B, J, G, P, C] → [B, T, J·G, C]. */
    positions: (x: Value) => {
      const [, , queries = 1] = x.shape;
      const heads = builder.reshape(builder.transpose(x, [0, 3, 1, 2, 4]), [B, P, J * queries, C]);
      return builder.slice(heads, [0, 0, 0, 0], [B, T, J * queries, C]);
    },
    perHead: (x: Value) => builder.slice(builder.reshape(x, [B, H, P]), [0, 0, 0], [B, H, T]),
    block,
    put: (x: Value, part: Value, i: Value, axis: number) =>
      builder.dynamicUpdateSlice(x, part, starts(x.shape.length, axis, i)),
    perRow,
    scaled,
    less: (x: Value, row: Value) => builder.binary('subtract', x, perRow(row, x.shape)),
    times: (x: Value, row: Value) => builder.binary('multiply', x, perRow(row, x.shape)),
    scores: (q_BJGRC: Value, k_BJSC: Value, i: Value, j: Value) => {
      const scores_BJGRS = scaled(product(builder, q_BJGRC, k_BJSC, [4], [3]));
      const allowed = isAllowed(i, j);
      if (allowed === undefined) return scores_BJGRS;
      const axes = allowed.shape.length === 2 ? [3, 4] : [0, 3, 4];
      const everywhere = builder.broadcastAlong(allowed, scores_BJGRS.shape, axes);
      return builder.select(everywhere, scores_BJGRS, builder.scalar(MASKED_SCORE, 'float32'));
    },
  };
}
