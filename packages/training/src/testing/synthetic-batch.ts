import { Random } from '@weft/common';
import type { RunConfig } from '@weft/config';
import { type BatchField, batchSpecs } from '@weft/model';
import { type BatchVariant, SourceLoss } from '@weft/tasks';
import type { HostArray } from '@weft/tensor';
import { type ImageArrays, packImages } from '@weft/testing';

type SyntheticBatch = Record<BatchField | 'sources_B', HostArray> & ImageArrays;

/**
 * A microbatch of noise with the structure of a real one: two segments a sequence, one image at the start
 * of each, padding at the end, and a mask on the text targets only.
 */
export function syntheticBatch(config: RunConfig, seed: number): SyntheticBatch {
  const { model, data, microbatchSize: B } = config;
  const { sequenceLength: T, connector, decoder } = model;
  const random = Random.of(seed, 'synthetic batch');
  const ints = () => new Int32Array(B * T);
  const pixels = B * data.imagesPerSequence * model.vision.imageSize ** 2 * 3;
  const images_NHWC = Float32Array.from({ length: pixels }, () => random.normal() / 2);
  const batch = {
    tokenIds_BT: ints(),
    targetIds_BT: ints(),
    segmentIds_BT: ints(),
    positions_BT: ints(),
    imageTokenIndex_BT: ints(),
  };
  const lossMask_BT = new Float32Array(B * T);
  const segmentLength = Math.floor(T / 2) - 2;
  for (let b = 0; b < B; b++) {
    for (let segment = 0; segment < 2; segment++) {
      for (let i = 0; i < segmentLength; i++) {
        const at = b * T + segment * segmentLength + i;
        const inImage = i < connector.tokensPerImage;
        batch.tokenIds_BT[at] = random.below(decoder.vocabularySize);
        batch.targetIds_BT[at] = random.below(decoder.vocabularySize);
        batch.segmentIds_BT[at] = segment + 1;
        batch.positions_BT[at] = i;
        const image = b * data.imagesPerSequence + segment;
        batch.imageTokenIndex_BT[at] = inImage ? image * connector.tokensPerImage + i + 1 : 0;
        lossMask_BT[at] = i + 1 >= connector.tokensPerImage && i + 1 < segmentLength ? 1 : 0;
      }
    }
  }
  const sources = Object.keys(data.weights).length;
  const sources_B = Int32Array.from({ length: B }, (_, b) => b % sources);
  return { ...batch, lossMask_BT, images_NHWC, sources_B };
}

/** The same microbatch with its images one after another and room for `room` of them, as data comes in a smaller shape. */
export function withRoomFor(batch: SyntheticBatch, config: RunConfig, room: number): Record<string, HostArray> {
  const { model, data, microbatchSize } = config;
  const { images_NHWC, ...text } = batch;
  const imageCount = microbatchSize * data.imagesPerSequence;
  const { tokensPerImage } = model.connector;
  return { ...text, ...packImages(batch, { imageCount, tokensPerImage, room }) };
}

/** The same microbatch with text at every position from this one on: the images stay where they are, and nobody reads them. */
export function withoutImages(batch: SyntheticBatch, from = 0): SyntheticBatch {
  return { ...batch, imageTokenIndex_BT: batch.imageTokenIndex_BT.map((index, at) => (at < from ? index : 0)) };
}

/** The shapes of microbatches with room for fewer images. */
export function variantsOf({ model, data, microbatchSize }: RunConfig, rooms: readonly number[]): BatchVariant[] {
  const sources = new SourceLoss(Object.keys(data.weights)).batchSpecs(microbatchSize);
  return rooms.map((images) => ({
    name: `${images}-images`,
    batch: { ...batchSpecs(model, { sequences: microbatchSize, images }), ...sources },
  }));
}
