// Legend: N captions, T positions of one, R = N·T rows, V vocabulary, W width, E embedding width.
import type { TextTowerConfig } from '@weft/config';
import { attention, tf } from '@weft/tensor';
import { encoderBlock, encoderBlockParameters } from './encoder-block.js';
import { layerNorm, layerNormParameters } from './norms.js';
import { sizes, takeRows } from './ops.js';
import {
  applyLayers,
  type ParameterSpec,
  type Parameters,
  positionTable,
  prefix,
  prefixLayers,
  scope,
  weight,
} from './parameters.js';

/** The parameters of `textTower`, in the order in which it uses them. */
export function textTowerParameters(
  text: TextTowerConfig,
  sequenceLength: number,
  embeddingWidth: number,
): readonly ParameterSpec[] {
  const { vocabularySize, width, depth } = text;
  return [
    weight('embedding', [vocabularySize, width], ['vocabulary', 'embed']),
    positionTable('positions', [sequenceLength, width]),
    ...prefixLayers(depth, () => encoderBlockParameters({ ...text, keyBias: false })),
    ...prefix('norm', layerNormParameters(width)),
    weight('projection', [width, embeddingWidth], ['embed', null], width ** -0.5),
  ];
}

/**
 * The text tower of CLIP (Radford et al., 2021): a transformer with learned positions in which tokens read those before
 * them; the token that ends a caption has read all of it, and stands for it.
 * @param tokenIds_NT what is behind the end is not read
 * @param isEnd_NT 1 at the end of every caption, 0 elsewhere
 * @returns [N, E]
 */
export function textTower(
  tokenIds_NT: tf.Tensor,
  isEnd_NT: tf.Tensor,
  p: Parameters,
  text: TextTowerConfig,
): tf.Tensor {
  const [count, length] = sizes(tokenIds_NT, 2);
  const { width, depth, normEpsilon } = text;
  const embedded_RW = takeRows(p('embedding'), tokenIds_NT);
  const positioned_NTW = tf.add(tf.reshape(embedded_RW, [count, length, width]), p('positions'));
  const block = { ...text, keyBias: false };
  const y_RW = applyLayers(tf.reshape(positioned_NTW, [count * length, width]), p, depth, (x, own) =>
    encoderBlock(x, own, block, count, (q, k, v) => attention(q, k, v, { causal: true })),
  );
  // A product with zeros and a one stays with its caption, where a lookup of rows would look at all of them.
  const end_N1W = tf.matMul(tf.reshape(isEnd_NT, [count, 1, length]), tf.reshape(y_RW, [count, length, width]));
  const end_NW = layerNorm(tf.reshape(end_N1W, [count, width]), scope(p, 'norm'), normEpsilon);
  return tf.matMul(end_NW, p('projection'));
}
