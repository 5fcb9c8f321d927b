import type { ModelConfig } from '@weft/config';
import { tf } from '@weft/tensor';
import type { Batch } from '../src/batch.js';
import { numbers, randomTensor } from './tensors.js';

/** One element of a segment: a text token, or an image by the label of its pixels. */
export type Element = number | { readonly image: string };
export type Segment = readonly Element[];

/** Packs segments into rows as packages/data does: images take K positions, the last token of a segment has no target. */
export function pack(
  model: ModelConfig,
  sequences: readonly (readonly Segment[])[],
  imagesPerSequence = 2,
): Required<Batch> {
  const { sequenceLength: length, vision, connector } = model;
  const empty = () => new Int32Array(sequences.length * length);
  const tokenIds = empty();
  const targetIds = empty();
  const segmentIds = empty();
  const positions = empty();
  const imageTokenIndex = empty();
  const lossMask = new Float32Array(sequences.length * length);
  const pixels = vision.imageSize ** 2 * 3;
  const images = new Float32Array(sequences.length * imagesPerSequence * pixels);

  sequences.forEach((segments, b) => {
    let at = b * length;
    let imageSlot = b * imagesPerSequence;
    segments.forEach((segment, s) => {
      const start = at;
      for (const element of segment) {
        if (typeof element === 'number') {
          tokenIds[at] = element;
          if (at > start) {
            targetIds[at - 1] = element;
            lossMask[at - 1] = 1;
          }
          at += 1;
        } else {
          images.set(imagePixels(model, element.image), imageSlot * pixels);
          for (let k = 0; k < connector.tokensPerImage; k++)
            imageTokenIndex[at++] = imageSlot * connector.tokensPerImage + k + 1;
          imageSlot += 1;
        }
      }
      for (let i = start; i < at; i++) {
        segmentIds[i] = s + 1;
        positions[i] = i - start;
      }
    });
    if (at > (b + 1) * length) throw new Error('the segments do not fit');
  });

  const perPosition: [number, number] = [sequences.length, length];
  const size = vision.imageSize;
  return {
    tokenIds_BT: tf.tensor2d(tokenIds, perPosition, 'int32'),
    targetIds_BT: tf.tensor2d(targetIds, perPosition, 'int32'),
    lossMask_BT: tf.tensor2d(lossMask, perPosition),
    segmentIds_BT: tf.tensor2d(segmentIds, perPosition, 'int32'),
    positions_BT: tf.tensor2d(positions, perPosition, 'int32'),
    imageTokenIndex_BT: tf.tensor2d(imageTokenIndex, perPosition, 'int32'),
    images_NHWC: tf.tensor4d(images, [sequences.length * imagesPerSequence, size, size, 3]),
  };
}

export function imagePixels(model: ModelConfig, label: string): Float32Array {
  const size = model.vision.imageSize;
  return Float32Array.from(numbers(randomTensor(label, [size, size, 3], 0.5)));
}
