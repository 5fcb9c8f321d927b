import type { SourceId } from '@weft/common';
import type { Dataset } from '../index/dataset.js';
import { IMAGE_ENTRY, type PackedSequence, type PackingLimits } from '../index/packed-sequence.js';

/**
 * One microbatch, the input of the model. B = sequences of a microbatch, T = positions of a sequence, I = images a
 * sequence may hold, K = positions of an image, N = B·I, H = W = image size, C = 3.
 */
export type BatchArrays = {
  /** Token ids; the tokenizer's `padTokenId` at positions without text (images, padding). */
  readonly tokenIds_BT: Int32Array;
  /** The token at the next position, where that is a text token of the same segment; 0 elsewhere. */
  readonly targetIds_BT: Int32Array;
  /** 1 where there is a target, 0 elsewhere. */
  readonly lossMask_BT: Float32Array;
  /** The number of the segment in its sequence, from 1; 0 for padding. Attention stays within equal numbers. */
  readonly segmentIds_BT: Int32Array;
  /** The position within the segment, from 0, for RoPE. */
  readonly positions_BT: Int32Array;
  /** r > 0 at positions of images: row r − 1 of the connector's output (N·K, D). 0 elsewhere. */
  readonly imageTokenIndex_BT: Int32Array;
  /** Pixels as x/127.5 − 1; zeros for unused images. Image i of sequence b has index b·I + i. */
  readonly images_NHWC: Float32Array;
};

/** An empty microbatch of a dataset: all positions are padding, none has a target. */
export function emptyBatchOf({ limits, imageSize, tokenizer }: Dataset, microbatchSize: number): BatchArrays {
  return emptyBatch(limits, imageSize, microbatchSize, tokenizer.padTokenId);
}

/** An empty microbatch for sequences of these limits. */
export function emptyBatch(
  limits: PackingLimits,
  imageSize: number,
  microbatchSize: number,
  padTokenId: number,
): BatchArrays {
  const positions = microbatchSize * limits.sequenceLength;
  const pixels = microbatchSize * limits.imagesPerSequence * imageSize * imageSize * 3;
  return {
    tokenIds_BT: new Int32Array(positions).fill(padTokenId),
    targetIds_BT: new Int32Array(positions),
    lossMask_BT: new Float32Array(positions),
    segmentIds_BT: new Int32Array(positions),
    positions_BT: new Int32Array(positions),
    imageTokenIndex_BT: new Int32Array(positions),
    images_NHWC: new Float32Array(pixels),
  };
}

/**
 * Reads one packed sequence and its images into row `row` of an empty batch.
 *
 * @param index of the sequence in its source
 * @returns how many positions have a target
 */
export async function fillSequence(
  batch: BatchArrays,
  row: number,
  dataset: Dataset,
  source: SourceId,
  index: number,
): Promise<number> {
  const sequence = await dataset.readSequence(source, index);
  const targets = fillRow(batch, dataset.limits, row, sequence);
  const images = sequence.segments.flatMap((segment) => segment.images);
  const firstImage = row * dataset.limits.imagesPerSequence;
  await Promise.all(
    images.map(async (image, i) => fillImage(batch, firstImage + i, await dataset.readImage(source, image))),
  );
  return targets;
}

/**
 * Writes a packed sequence, without the pixels of its images, into row `row` of an empty batch.
 *
 * @returns how many positions have a target
 */
export function fillRow(batch: BatchArrays, limits: PackingLimits, row: number, sequence: PackedSequence): number {
  const { sequenceLength, tokensPerImage, imagesPerSequence } = limits;
  let position = row * sequenceLength;
  let image = row * imagesPerSequence;
  let targets = 0;
  for (const [index, segment] of sequence.segments.entries()) {
    const start = position;
    for (const entry of segment.entries) {
      if (entry === IMAGE_ENTRY) {
        for (let k = 0; k < tokensPerImage; k++)
          batch.imageTokenIndex_BT[position + k] = image * tokensPerImage + k + 1;
        image++;
        position += tokensPerImage;
        continue;
      }
      batch.tokenIds_BT[position] = entry;
      if (position > start) {
        batch.targetIds_BT[position - 1] = entry;
        batch.lossMask_BT[position - 1] = 1;
        targets++;
      }
      position++;
    }
    for (let at = start; at < position; at++) {
      batch.segmentIds_BT[at] = index + 1;
      batch.positions_BT[at] = at - start;
    }
  }
  return targets;
}

/** From 8-bit channel values to −1 (black) … 1 (white). */
const NORMALISED = Float32Array.from({ length: 256 }, (_, value) => value / 127.5 - 1);

/** Writes the pixels of one image. `index` is b·I + i. */
export function fillImage(batch: BatchArrays, index: number, pixels: Uint8Array): void {
  const start = index * pixels.length;
  const images = batch.images_NHWC;
  for (let i = 0; i < pixels.length; i++) images[start + i] = NORMALISED[pixels[i]!]!;
}
