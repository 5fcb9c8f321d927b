import { type SourceId, WeftError } from '@weft/common';
import { writePixels } from '../formats/decode-image.js';
import type { Dataset } from '../index/dataset.js';
import { IMAGE_ENTRY, type PackedSequence, type PackingLimits } from '../index/packed-sequence.js';

/**
 * One microbatch, the input of the model. B = sequences of a microbatch, T = positions of a sequence, K = positions of an
 * image, N = images of the microbatch with room for more, H = W = image size, C = 3.
 */
export type BatchArrays = {
  /** Token ids; the tokenizer's `padTokenId` at positions without text (images, padding). */
  readonly tokenIds_BT: Int32Array;
  /** The token at the next position, where that is a text token of the same segment that the loss counts; 0 elsewhere. */
  readonly targetIds_BT: Int32Array;
  /** 1 where there is a target, 0 elsewhere. */
  readonly lossMask_BT: Float32Array;
  /** The number of the segment in its sequence, from 1; 0 for padding. Attention stays within equal numbers. */
  readonly segmentIds_BT: Int32Array;
  /** The position within the segment, from 0, for RoPE. */
  readonly positions_BT: Int32Array;
  /** r > 0 at positions of images: row r − 1 of the connector's output (N·K, D). 0 elsewhere. */
  readonly imageTokenIndex_BT: Int32Array;
  /**
   * Pixels as the encoder expects them: the images one after another, in the order in which the sequences have them, then zeros.
   * Absent where N is 0.
   */
  readonly images_NHWC?: Float32Array;
};

/** Where a sequence lies in a dataset. */
export interface SequenceLocation {
  readonly source: SourceId;
  /** Of the sequence in its source. */
  readonly index: number;
}

/** A sequence of the global order. */
export interface LocatedSequence extends SequenceLocation {
  /** Names it and its place in the order: no other sequence of the run has the same. */
  readonly identity: string;
}

/** The shapes of the microbatches of a run. */
export interface BatchShapes {
  readonly microbatchSize: number;
  /** How many images a microbatch may have room for, ascending: it gets the least that holds its own. Default: all. */
  readonly imageSizes?: readonly number[] | undefined;
}

/** A microbatch, and what is known of its rows. */
export interface FilledBatch<Arrays> {
  readonly arrays: Arrays;
  /** By row: how many targets it has. */
  readonly targets: readonly number[];
  /** By row: how many images it has. */
  readonly images: readonly number[];
}

/**
 * Reads packed sequences and their images into the first rows of a microbatch; the rest is padding.
 *
 * @throws WeftError `corrupt_data` naming shard and member, `not_found` when a shard is missing
 */
export async function readBatch(
  dataset: Dataset,
  locations: readonly SequenceLocation[],
  shapes: BatchShapes,
): Promise<FilledBatch<BatchArrays>> {
  const { limits, imageSize, tokenizer, channelValues } = dataset;
  const { microbatchSize, imageSizes } = shapes;
  const sequences = await Promise.all(locations.map(({ source, index }) => dataset.readSequence(source, index)));
  const images = sequences.flatMap(({ source, segments }) =>
    segments.flatMap((segment) => segment.images.map((location) => ({ source, location }))),
  );
  const room = imageSizes?.find((size) => size >= images.length) ?? microbatchSize * limits.imagesPerSequence;
  const arrays = emptyBatch(limits, microbatchSize, tokenizer.padTokenId, room * imageSize ** 2 * 3);
  const targets = fillRows(arrays, limits, sequences);
  await Promise.all(
    images.map(async ({ source, location }, i) =>
      fillImage(arrays, i, await dataset.readImage(source, location), channelValues),
    ),
  );
  return { arrays, targets, images: sequences.map(imagesOf) };
}

const imagesOf = ({ segments }: PackedSequence) => segments.reduce((sum, { images }) => sum + images.length, 0);

/** A microbatch without sequences: all positions are padding, none has a target. `pixels` counts those of all images. */
export function emptyBatch(
  limits: PackingLimits,
  microbatchSize: number,
  padTokenId: number,
  pixels: number,
): BatchArrays {
  const positions = microbatchSize * limits.sequenceLength;
  const text = {
    tokenIds_BT: new Int32Array(positions).fill(padTokenId),
    targetIds_BT: new Int32Array(positions),
    lossMask_BT: new Float32Array(positions),
    segmentIds_BT: new Int32Array(positions),
    positions_BT: new Int32Array(positions),
    imageTokenIndex_BT: new Int32Array(positions),
  };
  return pixels === 0 ? text : { ...text, images_NHWC: new Float32Array(pixels) };
}

/**
 * Writes packed sequences, without the pixels of their images, into the first rows of an empty microbatch.
 *
 * @returns by row how many positions have a target
 */
export function fillRows(
  batch: BatchArrays,
  limits: PackingLimits,
  sequences: readonly PackedSequence[],
): readonly number[] {
  let firstImage = 0;
  return sequences.map((sequence, row) => {
    const targets = fillRow(batch, limits, row, firstImage, sequence);
    firstImage += imagesOf(sequence);
    return targets;
  });
}

/** @param firstImage the number of the sequence's first image in the microbatch */
function fillRow(
  batch: BatchArrays,
  { sequenceLength, tokensPerImage }: PackingLimits,
  row: number,
  firstImage: number,
  sequence: PackedSequence,
): number {
  let position = row * sequenceLength;
  let image = firstImage;
  let targets = 0;
  for (const [index, segment] of sequence.segments.entries()) {
    const start = position;
    for (const [i, entry] of segment.entries.entries()) {
      if (entry === IMAGE_ENTRY) {
        for (let k = 0; k < tokensPerImage; k++)
          batch.imageTokenIndex_BT[position + k] = image * tokensPerImage + k + 1;
        image++;
        position += tokensPerImage;
        continue;
      }
      batch.tokenIds_BT[position] = entry;
      const isTarget = segment.targets === null || segment.targets[i] === 1;
      if (position > start && isTarget) {
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

/** Writes the pixels of an image, by its number in the microbatch. `values` are those of `channelValues`. */
export function fillImage(
  { images_NHWC: images }: BatchArrays,
  index: number,
  pixels: Uint8Array,
  values: Float32Array,
): void {
  if (images === undefined) throw new WeftError('internal', 'the microbatch has no room for images');
  writePixels(images, index * pixels.length, pixels, values);
}
