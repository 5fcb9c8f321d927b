import type { PackedSequence } from '../dataset/packed-sequence.js';
import { IMAGE_ENTRY, type PackingLimits } from '../packing/piece.js';

/**
 * One microbatch, as the model takes it. B = sequences of a microbatch, T = positions of a sequence, I = images a
 * sequence may hold, K = positions of an image, N = B·I, H = W = image size, C = 3.
 */
export interface BatchArrays {
  /** Token ids; where no text stands (images, padding) the tokenizer's filler. */
  readonly tokenIds_BT: Int32Array;
  /** The token at the next position, where that is a text token of the same piece; 0 elsewhere. */
  readonly targetIds_BT: Int32Array;
  /** 1 where there is a target, 0 elsewhere. */
  readonly lossMask_BT: Float32Array;
  /** The number of the piece in its row, from 1; 0 for padding. Attention stays within equal numbers. */
  readonly segmentIds_BT: Int32Array;
  /** The position within the piece, from 0, for RoPE. */
  readonly positions_BT: Int32Array;
  /** 0 where no image stands; r > 0 for row r − 1 of the connector's output (N·K, D). */
  readonly imageTokenIndex_BT: Int32Array;
  /** Pixels as x/127.5 − 1, zeros where no image is. Image n of sequence b is number b·I + n. */
  readonly images_NHWC: Float32Array;
}

/** A microbatch of empty sequences: everything is padding, nothing has a loss. */
export function emptyBatch(
  limits: PackingLimits,
  imageSize: number,
  microbatchSize: number,
  fillerId: number,
): BatchArrays {
  const positions = microbatchSize * limits.sequenceLength;
  const pixels = microbatchSize * limits.imagesPerSequence * imageSize * imageSize * 3;
  return {
    tokenIds_BT: new Int32Array(positions).fill(fillerId),
    targetIds_BT: new Int32Array(positions),
    lossMask_BT: new Float32Array(positions),
    segmentIds_BT: new Int32Array(positions),
    positions_BT: new Int32Array(positions),
    imageTokenIndex_BT: new Int32Array(positions),
    images_NHWC: new Float32Array(pixels),
  };
}

/**
 * Lays a packed sequence into row `row` of an empty batch.
 *
 * @returns how many positions have a target.
 */
export function fillRow(batch: BatchArrays, limits: PackingLimits, row: number, sequence: PackedSequence): number {
  const { sequenceLength, tokensPerImage, imagesPerSequence } = limits;
  let position = row * sequenceLength;
  let image = row * imagesPerSequence;
  let targets = 0;
  for (const [number, piece] of sequence.pieces.entries()) {
    const start = position;
    for (const entry of piece.entries) {
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
      batch.segmentIds_BT[at] = number + 1;
      batch.positions_BT[at] = at - start;
    }
  }
  return targets;
}

/** What each 8-bit colour becomes: −1 for black, 1 for white. */
const NORMALISED = Float32Array.from({ length: 256 }, (_, colour) => colour / 127.5 - 1);

/** Writes the pixels of one image into its place. `place` is b·I + n. */
export function fillImage(batch: BatchArrays, place: number, pixels: Uint8Array): void {
  const start = place * pixels.length;
  const images = batch.images_NHWC;
  for (let i = 0; i < pixels.length; i++) images[start + i] = NORMALISED[pixels[i]!]!;
}
