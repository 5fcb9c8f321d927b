// Legend: B batch, T positions, H query heads, J key-value heads (J divides H), G = H/J queries per key,
// C width of one head, S = G·T.
import { itemAt } from './required.js';

/** What plain attention is made of. tfjs computes it at once, `expandAttention` writes ops of a recording. */
export interface AttentionOps<Value> {
  shapeOf(x: Value): readonly number[];
  constant(elements: Float32Array, shape: readonly number[]): Value;
  /** Shapes broadcast, here and in the next ones. */
  add(x: Value, y: Value): Value;
  sub(x: Value, y: Value): Value;
  mul(x: Value, y: Value): Value;
  equal(x: Value, y: Value): Value;
  lessEqual(x: Value, y: Value): Value;
  and(x: Value, y: Value): Value;
  /** 0 or 1 for false or true. */
  toFloat(x: Value): Value;
  reshape(x: Value, shape: readonly number[]): Value;
  transpose(x: Value, axes: readonly number[]): Value;
  matMul(x: Value, y: Value, transposed?: { readonly left?: boolean; readonly right?: boolean }): Value;
  /** Along the last axis. */
  softmax(x: Value): Value;
  /** Over the last axis, which stays with length 1. */
  sumLast(x: Value): Value;
}

/** What the gradient needs again of the forward pass. */
export interface SavedAttention<Value> {
  /** Scaled, and the queries of one key-value head stacked as rows of one matrix. */
  readonly q_BJSC: Value;
  readonly k_BJTC: Value;
  readonly v_BJTC: Value;
  readonly weights_BJST: Value;
  readonly read_BJSC: Value;
}

/** Far below any score and far above −∞, so that a row with nothing to read is finite instead of NaN. */
const MASKED_SCORE = -1e9;

/**
 * What is added to the scores: 0 where a position t (row) may read a position s (column), −10⁹ elsewhere, the same for
 * every head.
 * @param segments_BT position t reads only its own segment; default: one segment
 * @param causal whether t reads no later position
 * @returns [B, 1, T, T]
 */
export function segmentMask<Value>(ops: AttentionOps<Value>, segments_BT: Value, causal: boolean): Value {
  const [batch = 1, length = 1] = ops.shapeOf(segments_BT);
  const isSame_BTT = ops.equal(
    ops.reshape(segments_BT, [batch, length, 1]),
    ops.reshape(segments_BT, [batch, 1, length]),
  );
  const isAllowed_BTT = causal ? ops.and(isSame_BTT, isNotLater(ops, length)) : isSame_BTT;
  return ops.reshape(penalty(ops, isAllowed_BTT), [batch, 1, length, length]);
}

/** The same where all positions are one segment: [1, 1, T, T]. */
export function causalMask<Value>(ops: AttentionOps<Value>, length: number): Value {
  return ops.reshape(penalty(ops, isNotLater(ops, length)), [1, 1, length, length]);
}

function isNotLater<Value>(ops: AttentionOps<Value>, length: number): Value {
  const positions_T = ops.constant(
    Float32Array.from({ length }, (_, position) => position),
    [length],
  );
  return ops.lessEqual(ops.reshape(positions_T, [1, length]), ops.reshape(positions_T, [length, 1]));
}

function penalty<Value>(ops: AttentionOps<Value>, isAllowed: Value): Value {
  return times(ops, ops.sub(ops.toFloat(isAllowed), scalar(ops, 1)), -MASKED_SCORE);
}

/**
 * softmax(scale·q·kᵀ + mask)·v for every head. The G query heads of one key-value head are stacked as rows of one matrix,
 * so keys and values are never repeated in memory.
 * @returns the values read [B, T, H, C]
 */
export function plainAttention<Value>(
  ops: AttentionOps<Value>,
  q_BTHC: Value,
  k_BTJC: Value,
  v_BTJC: Value,
  scale: number,
  mask_B1TT: Value | undefined,
): { readonly read_BTHC: Value; readonly saved: SavedAttention<Value> } {
  const [batch, length, heads, width] = sizes(ops, q_BTHC);
  const [, , keyValueHeads] = sizes(ops, k_BTJC);
  const scaled_BHTC = headsFirst(ops, times(ops, q_BTHC, scale));
  const q_BJSC = ops.reshape(scaled_BHTC, [batch, keyValueHeads, (heads / keyValueHeads) * length, width]);
  const [k_BJTC, v_BJTC] = [headsFirst(ops, k_BTJC), headsFirst(ops, v_BTJC)];
  const scores_BJST = addMask(ops, ops.matMul(q_BJSC, k_BJTC, { right: true }), mask_B1TT);
  const weights_BJST = ops.softmax(scores_BJST);
  const read_BJSC = ops.matMul(weights_BJST, v_BJTC);
  const read_BTHC = headsFirst(ops, ops.reshape(read_BJSC, [batch, heads, length, width]));
  return { read_BTHC, saved: { q_BJSC, k_BJTC, v_BJTC, weights_BJST, read_BJSC } };
}

/**
 * The gradients of queries, keys and values. That of a softmax needs Σ over keys of weight·dWeight for every query, which
 * equals Σ over channels of read·dRead, far fewer numbers (Dao et al., 2022, FlashAttention).
 */
export function plainAttentionGradient<Value>(
  ops: AttentionOps<Value>,
  dRead_BTHC: Value,
  saved: SavedAttention<Value>,
  scale: number,
): readonly [Value, Value, Value] {
  const { q_BJSC, k_BJTC, v_BJTC, weights_BJST, read_BJSC } = saved;
  const [batch, length, heads, width] = sizes(ops, dRead_BTHC);
  const dRead_BJSC = ops.reshape(headsFirst(ops, dRead_BTHC), ops.shapeOf(q_BJSC));
  const dWeights_BJST = ops.matMul(dRead_BJSC, v_BJTC, { right: true });
  const mean_BJS1 = ops.sumLast(ops.mul(dRead_BJSC, read_BJSC));
  const dScores_BJST = ops.mul(weights_BJST, ops.sub(dWeights_BJST, mean_BJS1));
  const dq_BJSC = ops.matMul(dScores_BJST, k_BJTC);
  const dk_BJTC = ops.matMul(dScores_BJST, q_BJSC, { left: true });
  const dv_BJTC = ops.matMul(weights_BJST, dRead_BJSC, { left: true });
  const [dv_BTJC, dk_BTJC] = [headsFirst(ops, dv_BJTC), headsFirst(ops, dk_BJTC)];
  const dScaled_BTHC = headsFirst(ops, ops.reshape(dq_BJSC, [batch, heads, length, width]));
  return [times(ops, dScaled_BTHC, scale), dk_BTJC, dv_BTJC];
}

/** Adds the mask to the scores of every head. */
function addMask<Value>(ops: AttentionOps<Value>, scores_BJST: Value, mask_B1TT: Value | undefined): Value {
  if (mask_B1TT === undefined) return scores_BJST;
  const [batch, , , length] = sizes(ops, scores_BJST);
  const scores_BHTT = ops.reshape(scores_BJST, [batch, -1, length, length]);
  return ops.reshape(ops.add(scores_BHTT, mask_B1TT), ops.shapeOf(scores_BJST));
}

/** [B, T, H, C] → [B, H, T, C], and back. */
function headsFirst<Value>(ops: AttentionOps<Value>, x: Value): Value {
  return ops.transpose(x, [0, 2, 1, 3]);
}

function times<Value>(ops: AttentionOps<Value>, x: Value, factor: number): Value {
  return ops.mul(x, scalar(ops, factor));
}

function scalar<Value>(ops: AttentionOps<Value>, number: number): Value {
  return ops.constant(Float32Array.of(number), []);
}

function sizes<Value>(ops: AttentionOps<Value>, x: Value): readonly [number, number, number, number] {
  const shape = ops.shapeOf(x);
  return [itemAt(shape, 0), itemAt(shape, 1), itemAt(shape, 2), itemAt(shape, 3)];
}
