// Legend: B batch, T positions, R = B·T rows, M image tokens of the batch, V vocabulary, D decoder width.
import { tf } from '@weft/tensor';
import { takeRows } from './take-rows.js';

/**
 * What the decoder reads: at every position either an image token or the embedding of a text token.
 * @param imageTokens_MD the connector's output
 * @param embedding_VD the token embedding
 * @param imageRows_BT r > 0: the position holds row r − 1 of `imageTokens_MD`; 0: it holds text
 * @returns [B·T, D]
 */
export function decoderInput(
  imageTokens_MD: tf.Tensor,
  embedding_VD: tf.Tensor,
  tokenIds_BT: tf.Tensor,
  imageRows_BT: tf.Tensor,
): tf.Tensor {
  const one = tf.scalar(1, 'int32');
  const isImage_BT = tf.cast(tf.greaterEqual(imageRows_BT, one), 'int32');
  // An image position takes no text row and a text position no image row: −1 stands for none.
  const textRows_BT = tf.sub(tf.mul(tokenIds_BT, tf.sub(one, isImage_BT)), isImage_BT);
  return tf.add(takeRows(embedding_VD, textRows_BT), takeRows(imageTokens_MD, tf.sub(imageRows_BT, one)));
}
