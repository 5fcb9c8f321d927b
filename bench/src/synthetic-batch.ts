import { Random } from '@weft/common';
import type { BatchField } from '@weft/model';
import type { HostArray } from '@weft/tensor';
import type { BenchModel, ImageParts } from './models.js';

/** How many segments one packed sequence of the multimodal model has. */
const SEGMENTS = 2;

export type BenchBatch = Readonly<Partial<Record<BatchField, HostArray>>>;

/** The batch of one rank: seeded noise with the structure of real data; every rank has equally many text targets. */
export function syntheticBatch(model: BenchModel, rank: number): BenchBatch {
  const { batchSize, sequenceLength, decoder, images } = model;
  const random = Random.of('bench', model.name, rank);
  const size = batchSize * sequenceLength;
  const perPosition = (value: (position: number, sequence: number) => number) =>
    Int32Array.from({ length: size }, (_, i) => value(i % sequenceLength, Math.floor(i / sequenceLength)));
  const tokens = () => perPosition(() => random.below(decoder.vocabularySize));

  const segmentLength = images === null ? sequenceLength : sequenceLength / SEGMENTS;
  const text = {
    tokenIds_BT: tokens(),
    targetIds_BT: tokens(),
    segmentIds_BT: perPosition((position) => 1 + Math.floor(position / segmentLength)),
    positions_BT: perPosition((position) => position % segmentLength),
  };
  return images === null ? text : { ...text, ...imageFields(images, batchSize, segmentLength, perPosition, random) };
}

/** Every segment begins with its share of the sequence's images and goes on with text. */
function imageFields(
  { vision, connector, imagesPerSequence }: ImageParts,
  batchSize: number,
  segmentLength: number,
  perPosition: (value: (position: number, sequence: number) => number) => Int32Array,
  random: Random,
) {
  const imagePositions = (imagesPerSequence / SEGMENTS) * connector.tokensPerImage;
  const isText = (inSegment: number) => inSegment >= imagePositions && inSegment < segmentLength;
  const pixels = batchSize * imagesPerSequence * vision.imageSize ** 2 * 3;
  return {
    imageTokenIndex_BT: perPosition((position, sequence) => {
      const [segment, inSegment] = [Math.floor(position / segmentLength), position % segmentLength];
      const firstRow = sequence * imagesPerSequence * connector.tokensPerImage + segment * imagePositions;
      return isText(inSegment) ? 0 : 1 + firstRow + inSegment;
    }),
    lossMask_BT: Float32Array.from(perPosition((position) => (isText((position % segmentLength) + 1) ? 1 : 0))),
    images_NHWC: Float32Array.from({ length: pixels }, () => 2 * random.uniform() - 1),
  };
}
