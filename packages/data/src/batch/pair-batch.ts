import { WeftError } from '@weft/common';
import { writePixels } from '../formats/decode-image.js';
import type { Dataset } from '../index/dataset.js';
import type { FilledBatch, SequenceLocation } from './batch-arrays.js';

/** A microbatch of pairs of an image and a caption. N pairs, H = W = image size, C = 3, T tokens of a caption at most. */
export type PairArrays = {
  /** Pixels as the encoder expects them; zeros where there is no pair. */
  readonly images_NHWC: Float32Array;
  /** Captions with their end; behind it the tokenizer's `padTokenId`. */
  readonly tokenIds_NT: Int32Array;
  /** 1 at the end of every caption, 0 elsewhere. */
  readonly isEnd_NT: Float32Array;
};

/**
 * Reads pairs into the first rows of a microbatch; the rest is empty.
 *
 * @param dataset an index of pairs
 * @throws WeftError `corrupt_data` naming shard and member, `not_found` when a shard is missing
 */
export async function readPairs(
  dataset: Dataset,
  locations: readonly SequenceLocation[],
  microbatchSize: number,
): Promise<FilledBatch<PairArrays>> {
  const { limits, imageSize, tokenizer, channelValues } = dataset;
  const length = limits.sequenceLength - limits.tokensPerImage;
  const arrays: PairArrays = {
    images_NHWC: new Float32Array(microbatchSize * imageSize ** 2 * 3),
    tokenIds_NT: new Int32Array(microbatchSize * length).fill(tokenizer.padTokenId),
    isEnd_NT: new Float32Array(microbatchSize * length),
  };
  await Promise.all(
    locations.map(async ({ source, index }, row) => {
      const { segments } = await dataset.readSequence(source, index);
      const [segment] = segments;
      const [image] = segment?.images ?? [];
      if (segment === undefined || image === undefined)
        throw new WeftError('internal', `${source} sequence ${index} is no pair`);
      const caption = segment.entries.subarray(1);
      arrays.tokenIds_NT.set(caption, row * length);
      arrays.isEnd_NT[row * length + caption.length - 1] = 1;
      const pixels = await dataset.readImage(source, image);
      writePixels(arrays.images_NHWC, row * pixels.length, pixels, channelValues);
    }),
  );
  return { arrays, targets: locations.map(() => 1), images: locations.map(() => 1) };
}
