import type { SourceId } from '@weft/common';

/** A packed sequence, decoded: what the page shows, and what the ledger answers with. */
export interface SequenceContents {
  readonly source: SourceId;
  /** Its number in the index of its source. */
  readonly index: number;
  /** Which pass over the source it belongs to, from 0; null where a sequence was asked for by its number. */
  readonly epoch: number | null;
  readonly positions: number;
  readonly capacity: number;
  readonly segments: readonly SegmentContents[];
}

/** A document, or a part of one, in a packed sequence. */
export interface SegmentContents {
  /** Its number in its source. */
  readonly document: number;
  readonly part: number;
  /** In order: text, or an image by its number in the sequence. */
  readonly pieces: readonly ({ readonly text: string } | { readonly image: number })[];
  /** Of its images, in order: the file, and the member of it. Absent: it was not looked for. */
  readonly images?: readonly string[];
  /** The shard that it was read from, a path below the folder of its dataset. Absent: it was not looked for, or is not known. */
  readonly shard?: string;
  /** What names it in the shard: the key of a sample, or a line. Absent: as `shard`. */
  readonly key?: string;
}
