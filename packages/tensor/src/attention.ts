// Legend: B batch, T positions, H query heads, J key-value heads (J divides H), G = H/J queries per key,
// C width of one head.
import { customGradient } from './custom-gradient.js';
import { kernelBackend } from './kernel-backend.js';
import {
  type AttentionOps,
  causalMask,
  plainAttention,
  plainAttentionGradient,
  segmentMask,
} from './plain-attention.js';
import { itemAt } from './required.js';
import { tf } from './tf.js';

/**
 * The recorded ops behind `attention`: a backend fuses them, computes them block by block, or has `expandAttention` write
 * them as products and a softmax.
 */
export const ATTENTION = 'Attention';
export const ATTENTION_GRADIENT = 'AttentionGrad';

/** Which positions may read each other; see `readablePositions`. */
export interface ReadablePositions {
  readonly causal: boolean;
  readonly segments_BT?: tf.Tensor;
  /** What is added to the scores, [B, 1, T, T]; only where nothing is recorded. */
  readonly mask_B1TT?: tf.Tensor;
}

/**
 * Which positions attention reads. Make it once for all layers.
 * @param causal whether a position reads none that is later
 * @param segmentIds_BT the segment of every position, int32: a position of a packed sequence reads its own segment only.
 *        Padding, segment 0, counts as a segment of its own, which no token reads. Default: all are one segment
 */
export function readablePositions(causal: boolean, segmentIds_BT?: tf.Tensor): ReadablePositions {
  if (segmentIds_BT === undefined) return { causal };
  // TensorFlow compares int32 on the host even when there is a GPU; float32 stays on the device.
  const segments_BT = tf.cast(segmentIds_BT, 'float32');
  if (kernelBackend()?.isRecording) return { causal, segments_BT };
  return { causal, segments_BT, mask_B1TT: segmentMask(TFJS, segments_BT, causal) };
}

/**
 * Scaled dot-product attention, softmax(q·kᵀ/√C + mask)·v (Vaswani et al., 2017): every position averages the values
 * of the positions whose keys match its query. Query head h reads key-value head ⌊h/G⌋ (grouped-query attention, Ainslie
 * et al., 2023). Recorded as one op, with another for its gradient.
 * @param q_BTHC queries
 * @param k_BTJC keys
 * @param v_BTJC values
 * @param readable default: every position reads all of them
 * @returns [B, T, H, C]
 */
export function attention(
  q_BTHC: tf.Tensor,
  k_BTJC: tf.Tensor,
  v_BTJC: tf.Tensor,
  { causal, segments_BT, mask_B1TT }: ReadablePositions = { causal: false },
): tf.Tensor {
  // A dot product of C numbers grows like √C; dividing keeps the softmax from saturating in wide heads.
  const scale = 1 / Math.sqrt(itemAt(q_BTHC.shape, 3));
  const native = kernelBackend();
  const inputs = [q_BTHC, k_BTJC, v_BTJC];
  if (!native?.isRecording) {
    return customGradient(
      inputs,
      () => {
        const mask = mask_B1TT ?? (causal ? causalMask(TFJS, itemAt(q_BTHC.shape, 1)) : undefined);
        const { read_BTHC, saved } = plainAttention(TFJS, q_BTHC, k_BTJC, v_BTJC, scale, mask);
        return { value: read_BTHC, saved: { ...saved } };
      },
      (dRead_BTHC, saved) => plainAttentionGradient(TFJS, dRead_BTHC, saved, scale),
    );
  }
  const attrs = { T: { type: 'float32' }, causal: { bool: causal }, scale: { float: scale } } as const;
  const segments = segments_BT === undefined ? [] : [segments_BT];
  return customGradient(
    inputs,
    () => {
      const outputs = native.rawOutputs(ATTENTION, [...inputs, ...segments], 2, attrs);
      const [read_BTHC, logSumExp_BHT] = [itemAt(outputs, 0), itemAt(outputs, 1)];
      const saved = { q_BTHC, k_BTJC, v_BTJC, read_BTHC, logSumExp_BHT };
      return { value: read_BTHC, saved: segments_BT === undefined ? saved : { ...saved, segments_BT } };
    },
    (dRead_BTHC, saved) => {
      const gradientInputs = Object.values(saved).toSpliced(inputs.length + 2, 0, dRead_BTHC);
      return native.rawOutputs(ATTENTION_GRADIENT, gradientInputs, 3, attrs);
    },
  );
}

/** The inputs of a recorded attention by name, in their order. */
export function attentionInputs<T>(inputs: readonly T[]) {
  return { q_BTHC: itemAt(inputs, 0), k_BTJC: itemAt(inputs, 1), v_BTJC: itemAt(inputs, 2), segments_BT: inputs[3] };
}

/** The same of its gradient. */
export function attentionGradientInputs<T>(inputs: readonly T[]) {
  return {
    ...attentionInputs(inputs),
    read_BTHC: itemAt(inputs, 3),
    logSumExp_BHT: itemAt(inputs, 4),
    dRead_BTHC: itemAt(inputs, 5),
    segments_BT: inputs[6],
  };
}

const TFJS: AttentionOps<tf.Tensor> = {
  shapeOf: (x) => x.shape,
  constant: (elements, shape) => tf.tensor(elements, [...shape]),
  add: (x, y) => tf.add(x, y),
  sub: (x, y) => tf.sub(x, y),
  mul: (x, y) => tf.mul(x, y),
  equal: (x, y) => tf.equal(x, y),
  lessEqual: (x, y) => tf.lessEqual(x, y),
  and: (x, y) => tf.logicalAnd(x, y),
  toFloat: (x) => tf.cast(x, 'float32'),
  reshape: (x, shape) => tf.reshape(x, [...shape]),
  transpose: (x, axes) => tf.transpose(x, [...axes]),
  matMul: (x, y, { left = false, right = false } = {}) => tf.matMul(x, y, left, right),
  softmax: (x) => tf.softmax(x),
  sumLast: (x) => tf.sum(x, -1, true),
};
