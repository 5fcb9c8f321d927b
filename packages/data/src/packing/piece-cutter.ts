import type { ImageLocation } from '../shards/document.js';
import { IMAGE_ENTRY, type PackingLimits, type Piece } from './piece.js';

/**
 * Cuts one document into pieces that each fit a row: as long as possible, never through an image, never more than
 * `imagesPerSequence` images. Images at a cut move on to the piece that holds the text after them, because that is
 * the text that speaks of them.
 */
export class PieceCutter {
  readonly #limits: PackingLimits;
  readonly #document: number;
  readonly #emit: (piece: Piece) => void;
  readonly #entries: Int32Array;
  #length = 0;
  #positions = 0;
  #images: ImageLocation[] = [];
  #part = 0;

  constructor(limits: PackingLimits, document: number, emit: (piece: Piece) => void) {
    this.#limits = limits;
    this.#document = document;
    this.#emit = emit;
    this.#entries = new Int32Array(limits.sequenceLength);
  }

  addTokens(ids: Int32Array): void {
    for (let taken = 0; taken < ids.length; ) {
      this.#makeRoom(1, 0);
      const run = ids.subarray(taken, taken + this.#limits.sequenceLength - this.#positions);
      this.#entries.set(run, this.#length);
      this.#length += run.length;
      this.#positions += run.length;
      taken += run.length;
    }
  }

  addImage(image: ImageLocation): void {
    this.#makeRoom(this.#limits.tokensPerImage, 1);
    this.#entries[this.#length++] = IMAGE_ENTRY;
    this.#positions += this.#limits.tokensPerImage;
    this.#images.push(image);
  }

  /** Gives out what is left. */
  finish(): void {
    if (this.#length > 0) this.#give(0);
  }

  #makeRoom(positions: number, images: number): void {
    const fits = () =>
      this.#positions + positions <= this.#limits.sequenceLength &&
      this.#images.length + images <= this.#limits.imagesPerSequence;
    if (fits()) return;
    this.#give(this.#imagesAtTheEnd());
    // The images that moved on may themselves leave no room.
    if (!fits()) this.#give(0);
  }

  /** How many images the piece ends with; none when it holds nothing else. */
  #imagesAtTheEnd(): number {
    let count = 0;
    while (count < this.#length && this.#entries[this.#length - 1 - count] === IMAGE_ENTRY) count++;
    return count === this.#length ? 0 : count;
  }

  /** Gives out the piece without its last `kept` entries, which are images, and goes on with those. */
  #give(kept: number): void {
    const length = this.#length - kept;
    const keptPositions = kept * this.#limits.tokensPerImage;
    this.#emit({
      document: this.#document,
      part: this.#part++,
      entries: this.#entries.slice(0, length),
      images: this.#images.slice(0, this.#images.length - kept),
      positions: this.#positions - keptPositions,
    });
    this.#entries.fill(IMAGE_ENTRY, 0, kept);
    this.#images = this.#images.slice(this.#images.length - kept);
    this.#length = kept;
    this.#positions = keptPositions;
  }
}
