import { Random } from '@weft/common';
import type { RunConfig } from '@weft/config';
import { type BatchField, batchSpecs } from '@weft/model';
import { elementCount, type HostArray } from '@weft/tensor';

/**
 * A microbatch of noise with the structure of a real one: two segments a sequence, one image at the start
 * of each, padding at the end, and a mask on the text targets only.
 */
export function syntheticBatch(config: RunConfig, seed: number): Record<BatchField, HostArray> {
  const { model, data, microbatchSize: B } = config;
  const { sequenceLength: T, connector, decoder } = model;
  const specs = batchSpecs(model, B, data.imagesPerSequence);
  const random = Random.of(seed, 'synthetic batch');
  const ints = () => new Int32Array(B * T);
  const images = Float32Array.from({ length: elementCount(specs.images_NHWC.shape) }, () => random.normal() / 2);
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
  return { ...batch, lossMask_BT, images_NHWC: images };
}
