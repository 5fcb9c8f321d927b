import type { SourceId } from '@weft/common';
import type { ImageLocation } from '../formats/document.js';

/** How much a packed sequence may hold. Independent of the image size: only the positions of an image count. */
export interface PackingLimits {
  /** Positions of a sequence, T. */
  readonly sequenceLength: number;
  /** Positions of one image, K < T. */
  readonly tokensPerImage: number;
  readonly imagesPerSequence: number;
  /** Whether every sequence is one document, an image and as much of its caption as fits; default: documents are packed. */
  readonly pairs?: true | undefined;
  /** Images that one picture becomes, one after another; 1 where pictures are not cut. */
  readonly viewsPerPicture: number;
}

/** Stands for an image among the token ids of a segment. */
export const IMAGE_ENTRY = -1;

/** What packing knows of a segment. */
export interface PackableSegment {
  /** Positions in the sequence: one per token, K per image. */
  readonly positions: number;
  /** One for each IMAGE_ENTRY, in order. */
  readonly images: readonly ImageLocation[];
}

/** A document, or a part of one that is too long for a sequence. Attention stays within it. */
export interface Segment extends PackableSegment {
  /** Index of the document in its source. */
  readonly document: number;
  /** Index of the segment in its document. */
  readonly part: number;
  /** Token ids in order, IMAGE_ENTRY for an image. */
  readonly entries: Int32Array;
  /** By entry, 1 for the tokens that the loss counts: of a conversation its answers and their ends. Null: all of them. */
  readonly targets: Uint8Array | null;
}

/** A row of the packed dataset: whole segments of one source, one after the other. */
export interface PackedSequence {
  readonly source: SourceId;
  /** Index of the sequence in its source. */
  readonly index: number;
  readonly segments: readonly Segment[];
  /** Used positions; the rest of the T positions is padding. */
  readonly positions: number;
}
