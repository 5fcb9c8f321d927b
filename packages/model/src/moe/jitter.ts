// Legend: B sequences, T positions, R = B·T tokens, D width.
import { Random } from '@weft/common';
import type { ModelConfig } from '@weft/config';
import { tf } from '@weft/tensor';
import { notDifferentiated } from '../not-differentiated.js';
import { sizes } from '../sizes.js';

/** A prime, so that keys spread, and small, so that a key times a fraction keeps eleven binary digits behind the point. */
const KEYS = 8191;
/** The largest sum of token ids that float32 holds exactly. */
const LARGEST_EXACT = 2 ** 24;

/**
 * A number for every token that follows from the tokens of its sequence up to it: the key of its noise. Whole, and
 * below 8191.
 */
export function tokenKeys(tokenIds_BT: tf.Tensor): tf.Tensor {
  const [, length] = sizes(tokenIds_BT, 2);
  const most = Math.min(KEYS, Math.floor(LARGEST_EXACT / length) - 1);
  const steps_BT = tf.add(tf.mod(tf.cast(tokenIds_BT, 'float32'), most), 1);
  return tf.reshape(tf.mod(tf.cumsum(steps_BT, 1), KEYS), [-1]);
}

/**
 * What the router's input is multiplied by (Fedus et al., 2021): numbers from [1 − jitter, 1 + jitter), one per token
 * and channel, 1 + jitter·(2·frac(key·α) − 1) with a fraction α for every layer and channel. They follow from layer
 * and tokens alone, to the last bit on every engine: a step that is repeated, resumed, recorded or cut into other
 * microbatches and ranks meets the same noise.
 * @param keys_R as `tokenKeys` gives them
 */
export function jitterNoise(layer: number, keys_R: tf.Tensor, width: number, jitter: number): tf.Tensor {
  return notDifferentiated(() => {
    const random = Random.of('router jitter', layer);
    const fractions_1D = tf.tensor2d(
      Float32Array.from({ length: width }, () => random.uniform()),
      [1, width],
    );
    const turns_RD = tf.mul(tf.expandDims(keys_R, 1), fractions_1D);
    const uniform_RD = tf.sub(turns_RD, tf.floor(turns_RD));
    return tf.add(tf.mul(uniform_RD, 2 * jitter), 1 - jitter);
  });
}

/** The model as it is evaluated: its routers see no noise. */
export function withoutJitter(model: ModelConfig): ModelConfig {
  const { moe } = model.decoder;
  return moe === null ? model : { ...model, decoder: { ...model.decoder, moe: { ...moe, jitter: 0 } } };
}
