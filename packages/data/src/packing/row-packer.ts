import type { PackingLimits, Piece } from './piece.js';

/** Rows that wait for a piece that fits: enough to fill them well, few enough to keep in memory. */
const OPEN_ROWS = 64;

interface Row {
  readonly pieces: Piece[];
  positions: number;
  images: number;
}

/**
 * Packs pieces into rows: each piece goes to the open row it fills best (ties: the older row), or opens a new one.
 * When too many rows are open, the fullest is closed. Every piece lands in exactly one row, and the same pieces in
 * the same order give the same rows.
 */
export class RowPacker {
  readonly #limits: PackingLimits;
  readonly #emit: (pieces: readonly Piece[]) => void;
  /** Oldest first. */
  #open: Row[] = [];

  /** @param emit takes the pieces of each finished row, in the order they were placed. */
  constructor(limits: PackingLimits, emit: (pieces: readonly Piece[]) => void) {
    this.#limits = limits;
    this.#emit = emit;
  }

  add(piece: Piece): void {
    const row = this.#bestRow(piece) ?? this.#newRow();
    row.pieces.push(piece);
    row.positions += piece.positions;
    row.images += piece.images.length;
    if (row.positions === this.#limits.sequenceLength) this.#close(row);
  }

  /** Closes the rows that are still open, oldest first. */
  finish(): void {
    for (const row of this.#open) this.#emit(row.pieces);
    this.#open = [];
  }

  #bestRow(piece: Piece): Row | undefined {
    let best: Row | undefined;
    for (const row of this.#open) {
      const fits =
        row.positions + piece.positions <= this.#limits.sequenceLength &&
        row.images + piece.images.length <= this.#limits.imagesPerSequence;
      if (fits && (best === undefined || row.positions > best.positions)) best = row;
    }
    return best;
  }

  #newRow(): Row {
    if (this.#open.length === OPEN_ROWS)
      this.#close(this.#open.reduce((fullest, row) => (row.positions > fullest.positions ? row : fullest)));
    const row: Row = { pieces: [], positions: 0, images: 0 };
    this.#open.push(row);
    return row;
  }

  #close(row: Row): void {
    this.#open.splice(this.#open.indexOf(row), 1);
    this.#emit(row.pieces);
  }
}
