// Legend: B sequences of a microbatch, T positions, N images of a microbatch, H and W pixels, C colours, K tokens per
// image.
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
 * - `images_NHWC` pixels as the encoder expects them, in any order: `imageTokenIndex_BT` says where they belong. A microbatch
 *   without images does not have it.
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

/** One value for every array of a microbatch. */
export type PerBatchField<Value> = Readonly<
  Record<Exclude<BatchField, 'images_NHWC'>, Value> & { images_NHWC?: Value }
>;

/** The tensors of one microbatch. */
export type Batch = PerBatchField<tf.Tensor>;

/** How much a microbatch holds. */
export interface BatchSize {
  readonly sequences: number;
  /** Of all its sequences together; unused ones are zeros. */
  readonly images: number;
}

/** Shape, dtype and axes of every array of a microbatch. */
export function batchSpecs(model: ModelConfig, { sequences, images }: BatchSize): PerBatchField<TensorSpec> {
  const perPosition = (dtype: TensorSpec['dtype']): TensorSpec => ({
    shape: [sequences, model.sequenceLength],
    dtype,
    axes: ['batch', null],
  });
  const { imageSize } = model.vision;
  const text = {
    tokenIds_BT: perPosition('int32'),
    targetIds_BT: perPosition('int32'),
    lossMask_BT: perPosition('float32'),
    segmentIds_BT: perPosition('int32'),
    positions_BT: perPosition('int32'),
    imageTokenIndex_BT: perPosition('int32'),
  };
  if (images === 0) return text;
  const shape = [images, imageSize, imageSize, 3];
  return { ...text, images_NHWC: { shape, dtype: 'float32', axes: ['batch', null, null, null] } };
}
