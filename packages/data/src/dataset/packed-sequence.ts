import type { SourceId } from '@weft/common';
import type { Piece } from '../packing/piece.js';

/** One row of the packed dataset: whole pieces of one source, side by side. */
export interface PackedSequence {
  readonly source: SourceId;
  /** Its number in the index of its source. */
  readonly index: number;
  readonly pieces: readonly Piece[];
  /** Positions used; the rest of the row is padding. */
  readonly positions: number;
}
