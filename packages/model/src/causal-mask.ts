// Legend: B batch, T positions.
import { tf } from '@weft/tensor';
import { sizes } from './sizes.js';

/** Far below any score and far above −∞, so that a masked row never turns into NaN. */
const FORBIDDEN = -1e9;

/**
 * What is added to attention scores so that position t reads position s only when s ≤ t and both belong to
 * the same piece of the packed sequence. Padding, segment 0, counts as a piece of its own: it reads itself,
 * is read by nobody, and stays finite.
 * @param segmentIds_BT the piece every position belongs to, int32
 * @returns [B, 1, T, T], 0 or −10⁹, the same for every head
 */
export function causalSegmentMask(segmentIds_BT: tf.Tensor): tf.Tensor {
  const [batch, length] = sizes(segmentIds_BT, 2);
  // TensorFlow compares int32 on the host even when a GPU is at hand; float32 stays on the device.
  const segments_BT = tf.cast(segmentIds_BT, 'float32');
  const samePiece_BTT = tf.equal(
    tf.reshape(segments_BT, [batch, length, 1]),
    tf.reshape(segments_BT, [batch, 1, length]),
  );
  const places_T = tf.tensor1d(Float32Array.from({ length }, (_, place) => place));
  const notLater_TT = tf.lessEqual(tf.reshape(places_T, [1, length]), tf.reshape(places_T, [length, 1]));
  const allowed_BTT = tf.cast(tf.logicalAnd(samePiece_BTT, notLater_TT), 'float32');
  return tf.reshape(tf.mul(tf.sub(allowed_BTT, 1), -FORBIDDEN), [batch, 1, length, length]);
}
