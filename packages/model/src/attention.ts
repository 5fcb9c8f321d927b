// Legend: B batch, T positions, H query heads, J key-value heads (J divides H), G = H/J queries per key,
// C width of one head, F = C/2 frequencies, S = G·T.
import { customGradient, tf } from '@weft/tensor';
import { sizes } from './ops.js';

/**
 * Scaled dot-product attention, softmax(q·kᵀ/√C + mask)·v (Vaswani et al., 2017): every position averages the values
 * of the positions whose keys match its query. The result comes as rows.
 *
 * Query head h reads key-value head ⌊h/G⌋ (grouped-query attention, Ainslie et al., 2023). The G query heads of one
 * key-value head are stacked as rows of one matrix, so keys and values are never repeated in memory.
 * @param q_BTHC queries
 * @param k_BTJC keys
 * @param v_BTJC values
 * @param mask_B1TT added to the scores; 0 where a query (row) may read a key (column). Default: all may
 * @returns [B·T, H·C]
 */
export function attention(q_BTHC: tf.Tensor, k_BTJC: tf.Tensor, v_BTJC: tf.Tensor, mask_B1TT?: tf.Tensor): tf.Tensor {
  const [batch, length, heads, width] = sizes(q_BTHC, 4);
  const [, , keyValueHeads] = sizes(k_BTJC, 4);
  const stackedLength = (heads / keyValueHeads) * length;

  // A dot product of C numbers grows like √C; dividing keeps the softmax from saturating in wide heads.
  const scaled_BTHC = tf.mul(q_BTHC, 1 / Math.sqrt(width));
  const q_BJSC = tf.reshape(headsFirst(scaled_BTHC), [batch, keyValueHeads, stackedLength, width]);
  const read_BJSC = readValues(q_BJSC, headsFirst(k_BTJC), headsFirst(v_BTJC), mask_B1TT);
  const read_BTHC = tf.transpose(tf.reshape(read_BJSC, [batch, heads, length, width]), [0, 2, 1, 3]);
  return tf.reshape(read_BTHC, [batch * length, heads * width]);
}

/**
 * softmax(q·kᵀ + mask)·v for stacked queries.
 *
 * The gradient is written by hand: that of a softmax needs Σ over keys of weight·dWeight for every query, which equals
 * Σ over channels of read·dRead, far fewer numbers (Dao et al., 2022, FlashAttention).
 */
function readValues(q_BJSC: tf.Tensor, k_BJTC: tf.Tensor, v_BJTC: tf.Tensor, mask_B1TT?: tf.Tensor): tf.Tensor {
  return customGradient(
    [q_BJSC, k_BJTC, v_BJTC],
    () => {
      const weights_BJST = tf.softmax(addMask(tf.matMul(q_BJSC, k_BJTC, false, true), mask_B1TT));
      const read_BJSC = tf.matMul(weights_BJST, v_BJTC);
      return { value: read_BJSC, saved: { q_BJSC, k_BJTC, v_BJTC, weights_BJST, read_BJSC } };
    },
    (dRead_BJSC, { q_BJSC, k_BJTC, v_BJTC, weights_BJST, read_BJSC }) => {
      const dWeights_BJST = tf.matMul(dRead_BJSC, v_BJTC, false, true);
      const mean_BJS1 = tf.sum(tf.mul(dRead_BJSC, read_BJSC), -1, true);
      const dScores_BJST = tf.mul(weights_BJST, tf.sub(dWeights_BJST, mean_BJS1));
      return [
        tf.matMul(dScores_BJST, k_BJTC),
        tf.matMul(dScores_BJST, q_BJSC, true),
        tf.matMul(weights_BJST, dRead_BJSC, true),
      ];
    },
  );
}

/** Adds the mask to the scores of every head. */
function addMask(scores_BJST: tf.Tensor, mask_B1TT: tf.Tensor | undefined): tf.Tensor {
  if (mask_B1TT === undefined) return scores_BJST;
  const [batch, , , length] = sizes(scores_BJST, 4);
  const scores_BHTT = tf.reshape(scores_BJST, [batch, -1, length, length]);
  return tf.reshape(tf.add(scores_BHTT, mask_B1TT), scores_BJST.shape);
}

/** [B·T, H·C] → [B, T, H, C]. */
export function splitHeads(x: tf.Tensor, batch: number, heads: number): tf.Tensor {
  const [rows, width] = sizes(x, 2);
  return tf.reshape(x, [batch, rows / batch, heads, width / heads]);
}

/** [B, T, H, C] → [B, H, T, C]. */
function headsFirst(x: tf.Tensor): tf.Tensor {
  return tf.transpose(x, [0, 2, 1, 3]);
}

/** Cosine and signed sine of every position's angles, one per channel; the same for all layers and heads. */
export interface RotaryTables {
  readonly cos_BT1C: tf.Tensor;
  /** Negative for the first half of the channels. */
  readonly sin_BT1C: tf.Tensor;
}

/**
 * The angles of rotary position embedding (Su et al., 2021): position · theta^(−f/F). Channels f and f + F are the two
 * coordinates of a point in a plane, which is rotated by this angle. Low f rotate fast and tell neighbours apart,
 * high f rotate slowly and tell far positions apart.
 * @param positions_BT position within its segment, int32
 * @param headWidth C, even
 */
export function rotaryTables(positions_BT: tf.Tensor, headWidth: number, theta: number): RotaryTables {
  const [batch, length] = sizes(positions_BT, 2);
  const half = headWidth / 2;
  const perChannel = (value: (channel: number) => number) =>
    tf.tensor4d(
      Float32Array.from({ length: headWidth }, (_, channel) => value(channel)),
      [1, 1, 1, headWidth],
    );
  const frequencies_C = perChannel((channel) => theta ** (-(channel % half) / half));
  const signs_C = perChannel((channel) => (channel < half ? -1 : 1));
  const positions_BT11 = tf.reshape(tf.cast(positions_BT, 'float32'), [batch, length, 1, 1]);
  const angles_BT1C = tf.mul(positions_BT11, frequencies_C);
  return { cos_BT1C: tf.cos(angles_BT1C), sin_BT1C: tf.mul(tf.sin(angles_BT1C), signs_C) };
}

/**
 * Rotates every pair of channels (f, f + F) by the angle of its position, shape unchanged. The dot product of a rotated
 * query and a rotated key depends on their positions only through the difference.
 */
export function rotate(x_BTHC: tf.Tensor, { cos_BT1C, sin_BT1C }: RotaryTables): tf.Tensor {
  // Not reverse(): tfjs's tape keeps the very array that split returns.
  const swapped_BTHC = tf.concat(tf.split(x_BTHC, 2, -1).toReversed(), -1);
  return tf.add(tf.mul(x_BTHC, cos_BT1C), tf.mul(swapped_BTHC, sin_BT1C));
}
