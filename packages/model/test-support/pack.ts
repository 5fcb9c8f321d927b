import type { ModelConfig } from '@weft/config';
import { tf } from '@weft/tensor';
import type { Batch } from '../src/loss.js';
import { numbers, randomTensor } from './tensors.js';

/** One element of a piece: a text token, or an image by the label of its pixels. */
export type Element = number | { readonly image: string };
export type Piece = readonly Element[];

/** Packs pieces into rows as the data room does: images take K positions, the last token of a piece has no target. */
export function pack(model: ModelConfig, sequences: readonly (readonly Piece[])[], imagesPerSequence = 2): Batch {
  const { sequenceLength: length, vision, connector } = model;
  const empty = () => new Int32Array(sequences.length * length);
  const tokenIds = empty();
  const targetIds = empty();
  const segmentIds = empty();
  const positions = empty();
  const imageRows = empty();
  const lossMask = new Float32Array(sequences.length * length);
  const pixels = vision.imageSize ** 2 * 3;
  const images = new Float32Array(sequences.length * imagesPerSequence * pixels);

  sequences.forEach((pieces, b) => {
    let at = b * length;
    let imageSlot = b * imagesPerSequence;
    pieces.forEach((piece, p) => {
      const start = at;
      for (const element of piece) {
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
            imageRows[at++] = imageSlot * connector.tokensPerImage + k + 1;
          imageSlot += 1;
        }
      }
      for (let i = start; i < at; i++) {
        segmentIds[i] = p + 1;
        positions[i] = i - start;
      }
    });
    if (at > (b + 1) * length) throw new Error('the pieces do not fit');
  });

  const perPosition: [number, number] = [sequences.length, length];
  const size = vision.imageSize;
  return {
    tokenIds_BT: tf.tensor2d(tokenIds, perPosition, 'int32'),
    targetIds_BT: tf.tensor2d(targetIds, perPosition, 'int32'),
    lossMask_BT: tf.tensor2d(lossMask, perPosition),
    segmentIds_BT: tf.tensor2d(segmentIds, perPosition, 'int32'),
    positions_BT: tf.tensor2d(positions, perPosition, 'int32'),
    imageRows_BT: tf.tensor2d(imageRows, perPosition, 'int32'),
    images_NHWC: tf.tensor4d(images, [sequences.length * imagesPerSequence, size, size, 3]),
  };
}

export function imagePixels(model: ModelConfig, label: string): Float32Array {
  const size = model.vision.imageSize;
  return Float32Array.from(numbers(randomTensor(label, [size, size, 3], 0.5)));
}
