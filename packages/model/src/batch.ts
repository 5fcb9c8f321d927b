// Legend: B sequences of a microbatch, T positions, N = B·imagesPerSequence images, H and W pixels, C colours,
// K tokens per image.
import type { ModelConfig } from '@weft/config';
import type { TensorSpec, tf } from '@weft/tensor';

/**
 * The arrays of one microbatch that the model reads:
 * - `tokenIds_BT` the token at every position; ignored where an image token stands;
 * - `targetIds_BT` the token to predict; a valid id everywhere, also where the mask is 0;
 * - `lossMask_BT` 1 where the target is text of the same segment, else 0;
 * - `segmentIds_BT` the segment a position belongs to, from 1; 0 is padding;
 * - `positions_BT` the position within its segment;
 * - `imageTokenIndex_BT` 0 for text; i > 0 for image token i − 1, a row of the connector's [N·K, D];
 * - `images_NHWC` pixels scaled to [−1, 1], image n of sequence b at row b·imagesPerSequence + n, zeros where unused.
 */
export const BATCH_FIELDS = [
  'tokenIds_BT',
  'targetIds_BT',
  'lossMask_BT',
  'segmentIds_BT',
  'positions_BT',
  'imageTokenIndex_BT',
  'images_NHWC',
] as const;

/** The name of an array of `BATCH_FIELDS`. */
export type BatchField = (typeof BATCH_FIELDS)[number];

/** The tensors of one microbatch. */
export type Batch = Readonly<Record<BatchField, tf.Tensor>>;

/** Shape, dtype and axes of every array of a microbatch. */
export function batchSpecs(
  model: ModelConfig,
  microbatchSize: number,
  imagesPerSequence: number,
): Readonly<Record<BatchField, TensorSpec>> {
  const perPosition = (dtype: TensorSpec['dtype']): TensorSpec => ({
    shape: [microbatchSize, model.sequenceLength],
    dtype,
    axes: ['batch', null],
  });
  const { imageSize } = model.vision;
  return {
    tokenIds_BT: perPosition('int32'),
    targetIds_BT: perPosition('int32'),
    lossMask_BT: perPosition('float32'),
    segmentIds_BT: perPosition('int32'),
    positions_BT: perPosition('int32'),
    imageTokenIndex_BT: perPosition('int32'),
    images_NHWC: {
      shape: [microbatchSize * imagesPerSequence, imageSize, imageSize, 3],
      dtype: 'float32',
      axes: ['batch', null, null, null],
    },
  };
}
