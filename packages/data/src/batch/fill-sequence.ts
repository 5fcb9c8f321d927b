import type { SourceId } from '@weft/common';
import type { Dataset } from '../dataset/dataset.js';
import { type BatchArrays, emptyBatch, fillImage, fillRow } from './batch-arrays.js';

/** An empty microbatch of a dataset. */
export function emptyBatchOf({ limits, imageSize, tokenizer }: Dataset, microbatchSize: number): BatchArrays {
  return emptyBatch(limits, imageSize, microbatchSize, tokenizer.fillerId);
}

/** Reads one packed sequence and its images into row `row` of an empty batch. Returns how many positions have a target. */
export async function fillSequence(
  batch: BatchArrays,
  row: number,
  dataset: Dataset,
  source: SourceId,
  number: number,
): Promise<number> {
  const sequence = await dataset.readSequence(source, number);
  const targets = fillRow(batch, dataset.limits, row, sequence);
  const images = sequence.pieces.flatMap((piece) => piece.images);
  const firstPlace = row * dataset.limits.imagesPerSequence;
  const decoding = images.map(async (image, n) =>
    fillImage(batch, firstPlace + n, await dataset.readImage(source, image)),
  );
  await Promise.all(decoding);
  return targets;
}
