// Legend: B batch, T positions, H query heads, J key-value heads (J divides H), G = H/J queries per key,
// C width of one head.
import { tf } from '@weft/engine';
import { sizes } from './sizes.js';

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
  const scores_BJST = tf.matMul(q_BJSC, headsFirst(k_BTJC), false, true);
  const scores_BHTT = tf.reshape(scores_BJST, [batch, heads, length, length]);
  const weights_BHTT = tf.softmax(mask_B1TT === undefined ? scores_BHTT : tf.add(scores_BHTT, mask_B1TT));
  const weights_BJST = tf.reshape(weights_BHTT, [batch, keyValueHeads, stackedLength, length]);
  const read_BJSC = tf.matMul(weights_BJST, headsFirst(v_BTJC));
  const read_BTHC = tf.transpose(tf.reshape(read_BJSC, [batch, heads, length, width]), [0, 2, 1, 3]);
  return tf.reshape(read_BTHC, [batch * length, heads * width]);
}

/** [B, T, H, C] → [B, H, T, C]. */
function headsFirst(x: tf.Tensor): tf.Tensor {
  return tf.transpose(x, [0, 2, 1, 3]);
}
