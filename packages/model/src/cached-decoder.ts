// Legend: N slots of the cache, T positions of a slot, B rows of a chunk, L new positions of a row, R = B·L, D width,
// H query heads, J key-value heads, G = H/J queries per key, C width of one head, S = G·L.
import { type DecoderConfig, DROPLESS, type ModelConfig } from '@weft/config';
import { type TensorSpec, tf, writeRows } from '@weft/tensor';
import { type Attend, decoderBlocks } from './decoder.js';
import { localExperts } from './moe/experts.js';
import { MoeLayers } from './moe/moe-layers.js';
import { sizes } from './ops.js';
import { type Parameters, scope } from './parameters.js';

/**
 * The rotated keys and the values of all positions that a decoder has read, by layer, in slots: one text has one slot.
 * Behind the positions of its text a slot holds zeros.
 */
export interface KeyValueCache {
  read(layer: number): KeysAndValues;
  /** Replaces the layer's keys and values. Called once for every layer. */
  write(layer: number, next: KeysAndValues): void;
}

/** The part of one layer. */
export interface KeysAndValues {
  readonly keys_NJTC: tf.Tensor;
  readonly values_NJTC: tf.Tensor;
}

/** Where the new positions of a chunk stand. */
export interface ChunkPositions {
  /** How many positions of each row are in the cache already, float32: the first new one stands there. */
  readonly starts_B: tf.Tensor;
  /** 1 for a position of a text, 0 for padding at the end of a row. */
  readonly isToken_BL: tf.Tensor;
  /** The slot of each row, int32. Default: the rows are those of all slots. */
  readonly slots_B?: tf.Tensor1D;
}

/** Keys or values of one layer: `slots` texts of at most `length` positions. */
export function cacheSpec({ headWidth, keyValueHeads }: DecoderConfig, slots: number, length: number): TensorSpec {
  return { shape: [slots, keyValueHeads, length, headWidth], dtype: 'float32', axes: [null, 'heads', null, null] };
}

/**
 * The decoder's blocks on the next positions of some texts, whose keys and values join those in the cache: the
 * residual stream after the last block is what `decoderBlocks` gives for the same positions of the whole texts.
 * Experts are local and drop nothing, whatever their capacity in training. Padding leaves nothing in the cache.
 * @param x_RD the decoder's input at the new positions
 * @param parameter every parameter of the model
 * @returns [R, D]
 */
export function cachedDecoderBlocks(
  x_RD: tf.Tensor,
  parameter: Parameters,
  model: ModelConfig,
  chunk: ChunkPositions,
  cache: KeyValueCache,
): tf.Tensor {
  const { starts_B, isToken_BL, slots_B } = chunk;
  const [batch, length] = sizes(isToken_BL, 2);
  const positions_BL = tf.add(tf.reshape(starts_B, [batch, 1]), tf.range(0, length, 1, 'float32'));
  // The same in all layers.
  let shared: { readonly places: tf.Tensor; readonly penalty_B1LT: tf.Tensor } | undefined;
  const attend: Attend = (layer, q_BLHC, k_BLJC, v_BLJC) => {
    const before = cache.read(layer);
    const [, heads, cacheLength] = sizes(before.keys_NJTC, 4);
    shared ??= {
      places: placesOf(chunk, positions_BL, heads, cacheLength),
      penalty_B1LT: laterPenalty(positions_BL, cacheLength),
    };
    const { places, penalty_B1LT } = shared;
    const keys_NJTC = writeRows(before.keys_NJTC, places, rowsOf(k_BLJC, isToken_BL));
    const values_NJTC = writeRows(before.values_NJTC, places, rowsOf(v_BLJC, isToken_BL));
    cache.write(layer, { keys_NJTC, values_NJTC });
    const ofRows = (all_NJTC: tf.Tensor) => (slots_B === undefined ? all_NJTC : tf.gather(all_NJTC, slots_B));
    return readCache(q_BLHC, ofRows(keys_NJTC), ofRows(values_NJTC), penalty_B1LT);
  };
  const moe = moeLayers(model, parameter, isToken_BL);
  return decoderBlocks(x_RD, scope(parameter, 'decoder'), model.decoder, positions_BL, attend, moe);
}

/** Slot, head and position of every new key, [B·L·J, 3]. Padding goes to the last position at most: it adds zeros there. */
function placesOf({ slots_B }: ChunkPositions, positions_BL: tf.Tensor, heads: number, cacheLength: number): tf.Tensor {
  const [batch, length] = sizes(positions_BL, 2);
  // In float32, exact far beyond any length: TensorFlow computes int32 on the host even when there is a GPU.
  const ones_BLJ = tf.ones([batch, length, heads]);
  const slots_B11 = slots_B === undefined ? tf.range(0, batch, 1, 'float32') : tf.cast(slots_B, 'float32');
  const inside_BL1 = tf.reshape(tf.minimum(positions_BL, cacheLength - 1), [batch, length, 1]);
  const parts = [tf.reshape(slots_B11, [batch, 1, 1]), tf.range(0, heads, 1, 'float32'), inside_BL1];
  const places_BLJ3 = tf.stack(
    parts.map((part) => tf.mul(ones_BLJ, part)),
    3,
  );
  return tf.cast(tf.reshape(places_BLJ3, [batch * length * heads, 3]), 'int32');
}

/** Keys or values in the order of their places, zeros for padding: [B, L, J, C] → [B·L·J, C]. */
function rowsOf(x_BLJC: tf.Tensor, isToken_BL: tf.Tensor): tf.Tensor {
  const [batch, length, heads, width] = sizes(x_BLJC, 4);
  const tokens_BLJC = tf.mul(x_BLJC, tf.reshape(isToken_BL, [batch, length, 1, 1]));
  return tf.reshape(tokens_BLJC, [batch * length * heads, width]);
}

/** The MoE layers as they are in use: no token is dropped, none is noisy, and all tokens are one group. */
function moeLayers(model: ModelConfig, parameter: Parameters, isToken_BL: tf.Tensor): MoeLayers | undefined {
  const { moe } = model.decoder;
  if (moe === null) return undefined;
  const dropless = { ...moe, capacityFactor: DROPLESS, groupSize: 0, jitter: 0 } as const;
  const zeros_BL = tf.mul(isToken_BL, 0);
  return new MoeLayers(
    { ...model, decoder: { ...model.decoder, moe: dropless } },
    { tokenIds_BT: zeros_BL, segmentIds_BT: isToken_BL, lossMask_BT: zeros_BL },
    localExperts(model, parameter),
  );
}

/** Far below any score and far above −∞. */
const MASKED_SCORE = -1e9;

/** What is added to scores: −10⁹ where the position of the cache is later than the one that reads, else 0. */
function laterPenalty(positions_BL: tf.Tensor, cacheLength: number): tf.Tensor {
  const [batch, length] = sizes(positions_BL, 2);
  const isLater_BLT = tf.less(tf.expandDims(positions_BL, 2), tf.range(0, cacheLength, 1, 'float32'));
  return tf.reshape(tf.mul(tf.cast(isLater_BLT, 'float32'), MASKED_SCORE), [batch, 1, length, cacheLength]);
}

/** Softmax attention over the cache. The queries of one key-value head are stacked as rows, so keys are not repeated. */
function readCache(
  q_BLHC: tf.Tensor,
  keys_BJTC: tf.Tensor,
  values_BJTC: tf.Tensor,
  penalty_B1LT: tf.Tensor,
): tf.Tensor {
  const [batch, length, heads, width] = sizes(q_BLHC, 4);
  const [, keyValueHeads, cacheLength] = sizes(keys_BJTC, 4);
  const scaled_BHLC = tf.transpose(tf.mul(q_BLHC, 1 / Math.sqrt(width)), [0, 2, 1, 3]);
  const q_BJSC = tf.reshape(scaled_BHLC, [batch, keyValueHeads, (heads / keyValueHeads) * length, width]);
  const scores_BJST = tf.matMul(q_BJSC, keys_BJTC, false, true);
  const scores_BHLT = tf.add(tf.reshape(scores_BJST, [batch, heads, length, cacheLength]), penalty_B1LT);
  const weights_BJST = tf.reshape(tf.softmax(scores_BHLT), scores_BJST.shape);
  const read_BHLC = tf.reshape(tf.matMul(weights_BJST, values_BJTC), [batch, heads, length, width]);
  return tf.transpose(read_BHLC, [0, 2, 1, 3]);
}
