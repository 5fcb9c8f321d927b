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

/** Every segment begins with its share of the batch's images and goes on with text. Unused slots hold noise as well. */
function imageFields(
  { vision, connector, imagesPerSequence, present }: ImageParts,
  batchSize: number,
  segmentLength: number,
  perPosition: (value: (position: number, sequence: number) => number) => Int32Array,
  random: Random,
) {
  const slots = batchSize * imagesPerSequence;
  const imageCount = present?.images ?? slots;
  /** The images of all segments before a segment of the batch. */
  const imagesBefore = (segment: number) => Math.floor((segment * imageCount) / (batchSize * SEGMENTS));
  const segmentAt = (position: number, sequence: number) => sequence * SEGMENTS + Math.floor(position / segmentLength);
  const imagePositions = (segment: number) =>
    (imagesBefore(segment + 1) - imagesBefore(segment)) * connector.tokensPerImage;
  const isText = (segment: number, inSegment: number) =>
    inSegment >= imagePositions(segment) && inSegment < segmentLength;
  return {
    imageTokenIndex_BT: perPosition((position, sequence) => {
      const [segment, inSegment] = [segmentAt(position, sequence), position % segmentLength];
      const firstSlot = sequence * imagesPerSequence + imagesBefore(segment) - imagesBefore(sequence * SEGMENTS);
      return isText(segment, inSegment) ? 0 : 1 + firstSlot * connector.tokensPerImage + inSegment;
    }),
    lossMask_BT: Float32Array.from(
      perPosition((position, sequence) =>
        isText(segmentAt(position, sequence), (position % segmentLength) + 1) ? 1 : 0,
      ),
    ),
    images_NHWC: Float32Array.from({ length: slots * vision.imageSize ** 2 * 3 }, () => 2 * random.uniform() - 1),
  };
}
