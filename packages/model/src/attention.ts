// Legend: B batch, T positions, H query heads, J key-value heads (J divides H), G = H/J queries per key,
// C width of one head, S = G·T.
import { tf } from '@weft/tensor';
import { sizes } from './sizes.js';
import { withGradient } from './with-gradient.js';

/** [B·T, H·C] → [B, T, H, C]. */
export function splitHeads(x: tf.Tensor, batch: number, heads: number): tf.Tensor {
  const [rows, width] = sizes(x, 2);
  return tf.reshape(x, [batch, rows / batch, heads, width / heads]);
}

/**
 * Softmax attention, softmax(q·kᵀ/√C + mask)·v, with the result as rows.
 * Query head h reads key-value head ⌊h/G⌋ (Ainslie et al., 2023): the G query heads of one key-value head are
 * laid below each other as rows of one matrix, so keys and values are never repeated in memory.
 * @param q_BTHC queries
 * @param k_BTJC keys
 * @param v_BTJC values
 * @param mask_B1TT added to the scores; 0 where a query (row) may read a key (column); all may when left out
 * @returns [B·T, H·C]
 */
export function attention(q_BTHC: tf.Tensor, k_BTJC: tf.Tensor, v_BTJC: tf.Tensor, mask_B1TT?: tf.Tensor): tf.Tensor {
  const [batch, length, heads, width] = sizes(q_BTHC, 4);
  const [, , keyValueHeads] = sizes(k_BTJC, 4);
  const stackedLength = (heads / keyValueHeads) * length;

  const scaled_BTHC = tf.mul(q_BTHC, 1 / Math.sqrt(width));
  const q_BJSC = tf.reshape(headsFirst(scaled_BTHC), [batch, keyValueHeads, stackedLength, width]);
  const read_BJSC = readValues(q_BJSC, headsFirst(k_BTJC), headsFirst(v_BTJC), mask_B1TT);
  const read_BTHC = tf.transpose(tf.reshape(read_BJSC, [batch, heads, length, width]), [0, 2, 1, 3]);
  return tf.reshape(read_BTHC, [batch * length, heads * width]);
}

/**
 * softmax(q·kᵀ + mask)·v for stacked queries.
 *
 * The gradient is written out because that of a softmax sums weight·dWeight over the keys, which is query by query the
 * same as the sum of read·dRead over the channels: far fewer numbers (Dao et al., 2022).
 */
function readValues(q_BJSC: tf.Tensor, k_BJTC: tf.Tensor, v_BJTC: tf.Tensor, mask_B1TT?: tf.Tensor): tf.Tensor {
  return withGradient(
    [q_BJSC, k_BJTC, v_BJTC],
    () => {
      const weights_BJST = tf.softmax(masked(tf.matMul(q_BJSC, k_BJTC, false, true), mask_B1TT));
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
function masked(scores_BJST: tf.Tensor, mask_B1TT: tf.Tensor | undefined): tf.Tensor {
  if (mask_B1TT === undefined) return scores_BJST;
  const [batch, , , length] = sizes(scores_BJST, 4);
  const scores_BHTT = tf.reshape(scores_BJST, [batch, -1, length, length]);
  return tf.reshape(tf.add(scores_BHTT, mask_B1TT), scores_BJST.shape);
}

/** [B, T, H, C] → [B, H, T, C]. */
function headsFirst(x: tf.Tensor): tf.Tensor {
  return tf.transpose(x, [0, 2, 1, 3]);
}
