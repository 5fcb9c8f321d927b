import type { ImageLocation } from '../shards/document.js';

/** What a packed row may hold. The image size does not matter here, only how many positions an image takes. */
export interface PackingLimits {
  /** Positions of one row, T. */
  readonly sequenceLength: number;
  /** Positions of one image, K < T. */
  readonly tokensPerImage: number;
  readonly imagesPerSequence: number;
}

/** The entry that stands for an image among the token ids of a piece. */
export const IMAGE_ENTRY = -1;

/** A document, or a part of one that is too long for a row. Attention never leaves it. */
export interface Piece {
  /** The number of the document among the documents of its source. */
  readonly document: number;
  /** 0 for the first piece of the document. */
  readonly part: number;
  /** Token ids in order, and IMAGE_ENTRY where an image stands. */
  readonly entries: Int32Array;
  readonly images: readonly ImageLocation[];
  /** Positions it takes in a row: one per token, K per image. */
  readonly positions: number;
}
