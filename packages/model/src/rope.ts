// Legend: B batch, T positions, H heads, C width of one head, F = C/2 frequencies.
import { tf } from '@weft/engine';

/** Cosine and sine of every position's angle at every frequency, [B, T, 1, F]; the same for all layers. */
export interface RotaryTables {
  readonly cos_BT1F: tf.Tensor;
  readonly sin_BT1F: tf.Tensor;
}

/**
 * The angles of rotary position embedding (Su et al., 2021): position · theta^(−f/F) for f in [0, F).
 * @param positions_BT position within its piece, int32
 * @param headWidth C, even
 */
export function rotaryTables(positions_BT: tf.Tensor, headWidth: number, theta: number): RotaryTables {
  const [batch = 0, length = 0] = positions_BT.shape;
  const frequencies = headWidth / 2;
  const frequencies_F = tf.tensor1d(Float32Array.from({ length: frequencies }, (_, f) => theta ** (-f / frequencies)));
  const angles_BT1F = tf.mul(
    tf.reshape(tf.cast(positions_BT, 'float32'), [batch, length, 1, 1]),
    tf.reshape(frequencies_F, [1, 1, 1, frequencies]),
  );
  return { cos_BT1F: tf.cos(angles_BT1F), sin_BT1F: tf.sin(angles_BT1F) };
}

/**
 * Turns every pair of channels (f, f + F) by its position's angle, shape unchanged. The dot product of a turned query and a
 * turned key depends on their positions only through the difference.
 */
export function rotate(x_BTHC: tf.Tensor, { cos_BT1F, sin_BT1F }: RotaryTables): tf.Tensor {
  const [a = x_BTHC, b = x_BTHC] = tf.split(x_BTHC, 2, -1);
  const turnedA = tf.sub(tf.mul(a, cos_BT1F), tf.mul(b, sin_BT1F));
  const turnedB = tf.add(tf.mul(b, cos_BT1F), tf.mul(a, sin_BT1F));
  return tf.concat([turnedA, turnedB], -1);
}
