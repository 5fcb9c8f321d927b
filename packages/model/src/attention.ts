// Legend: B batch, T positions, H heads, C width of one head, F = C/2 frequencies.
import type { RopeScaling } from '@weft/config';
import { tf } from '@weft/tensor';
import { sizes } from './ops.js';

/** [B·T, H·C] → [B, T, H, C]. */
export function splitHeads(x: tf.Tensor, batch: number, heads: number): tf.Tensor {
  const [rows, width] = sizes(x, 2);
  return tf.reshape(x, [batch, rows / batch, heads, width / heads]);
}

/** [B, T, H, C] → [B·T, H·C]. */
export function joinHeads(x_BTHC: tf.Tensor): tf.Tensor {
  const [batch, length, heads, width] = sizes(x_BTHC, 4);
  return tf.reshape(x_BTHC, [batch * length, heads * width]);
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
 * @param scaling slows low frequencies down, so that a model reads longer sequences; default: none
 */
export function rotaryTables(
  positions_BT: tf.Tensor,
  headWidth: number,
  theta: number,
  scaling: RopeScaling | null = null,
): RotaryTables {
  const [batch, length] = sizes(positions_BT, 2);
  const half = headWidth / 2;
  const perChannel = (value: (channel: number) => number) =>
    tf.tensor4d(
      Float32Array.from({ length: headWidth }, (_, channel) => value(channel)),
      [1, 1, 1, headWidth],
    );
  const frequencies_C = perChannel((channel) => scaledFrequency(theta ** (-(channel % half) / half), scaling));
  const signs_C = perChannel((channel) => (channel < half ? -1 : 1));
  const positions_BT11 = tf.reshape(tf.cast(positions_BT, 'float32'), [batch, length, 1, 1]);
  const angles_BT1C = tf.mul(positions_BT11, frequencies_C);
  return { cos_BT1C: tf.cos(angles_BT1C), sin_BT1C: tf.mul(tf.sin(angles_BT1C), signs_C) };
}

/**
 * Llama 3.1's change of a frequency, in radians per position. Waves that the first training saw whole many times stay as
 * they are; those longer than what it saw turn `factor` times more slowly; between the two the change sets in linearly.
 */
function scaledFrequency(frequency: number, scaling: RopeScaling | null): number {
  if (scaling === null) return frequency;
  const { factor, lowFrequencyFactor, highFrequencyFactor, originalLength } = scaling;
  const waves = (originalLength * frequency) / (2 * Math.PI);
  const kept = (waves - lowFrequencyFactor) / (highFrequencyFactor - lowFrequencyFactor);
  const share = Math.min(1, Math.max(0, kept));
  return share * frequency + (1 - share) * (frequency / factor);
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
