import type { ImageLocation } from '../formats/document.js';
import { IMAGE_ENTRY, type PackableSegment, type PackingLimits, type Segment } from './packed-sequence.js';

/** Sequences that wait for a segment that fits: enough to fill them well, few enough to keep in memory. */
const OPEN_SEQUENCES = 64;

/**
 * Cuts one document into segments that each fit a sequence. Segments are as long as possible, never cut an image and
 * hold at most `imagesPerSequence` images. Images just before a cut go to the next segment, because the text after
 * them is the text about them.
 */
export class Segmenter {
  readonly #limits: PackingLimits;
  readonly #document: number;
  readonly #emit: (segment: Segment) => void;
  readonly #entries: Int32Array;
  readonly #targets: Uint8Array;
  #hasPrompt = false;
  #length = 0;
  #positions = 0;
  #images: ImageLocation[] = [];
  #part = 0;

  /**
   * @param document index of the document in its source
   * @param emit called with each segment, in order
   */
  constructor(limits: PackingLimits, document: number, emit: (segment: Segment) => void) {
    this.#limits = limits;
    this.#document = document;
    this.#emit = emit;
    this.#entries = new Int32Array(limits.sequenceLength);
    this.#targets = new Uint8Array(limits.sequenceLength);
  }

  /** Appends text tokens. @param areTargets whether the loss counts them; default true */
  addTokens(ids: Int32Array, areTargets = true): void {
    this.#hasPrompt ||= !areTargets;
    for (let added = 0; added < ids.length; ) {
      this.#makeSpace(1, 0);
      const run = ids.subarray(added, added + this.#limits.sequenceLength - this.#positions);
      this.#entries.set(run, this.#length);
      this.#targets.fill(areTargets ? 1 : 0, this.#length, this.#length + run.length);
      this.#length += run.length;
      this.#positions += run.length;
      added += run.length;
    }
  }

  /** Appends a picture: its views, which no cut takes apart. */
  addImage(image: ImageLocation): void {
    const { tokensPerImage, viewsPerPicture } = this.#limits;
    this.#makeSpace(viewsPerPicture * tokensPerImage, viewsPerPicture);
    for (let view = 0; view < viewsPerPicture; view++) {
      this.#targets[this.#length] = 0;
      this.#entries[this.#length++] = IMAGE_ENTRY;
      this.#positions += tokensPerImage;
      this.#images.push({ ...image, view });
    }
  }

  /** Whether nothing was added. */
  get isEmpty(): boolean {
    return this.#length === 0 && this.#part === 0;
  }

  /** Why a document may be empty. */
  get emptyBecause(): string {
    return 'it holds neither text nor image';
  }

  /** Appends the token that ends the document, and emits the last segment. */
  end(endOfTextId: number): void {
    this.addTokens(Int32Array.of(endOfTextId));
    this.finish();
  }

  /** Emits the last segment. */
  finish(): void {
    if (this.#length > 0) this.#cut(0);
  }

  #makeSpace(positions: number, images: number): void {
    const fits = () =>
      this.#positions + positions <= this.#limits.sequenceLength &&
      this.#images.length + images <= this.#limits.imagesPerSequence;
    if (fits()) return;
    this.#cut(this.#trailingImages());
    // The images carried over may themselves leave too little space.
    if (!fits()) this.#cut(0);
  }

  /** How many images the segment ends with; 0 when it holds nothing else. */
  #trailingImages(): number {
    let count = 0;
    while (count < this.#length && this.#entries[this.#length - 1 - count] === IMAGE_ENTRY) count++;
    return count === this.#length ? 0 : count;
  }

  /** Emits the segment without its last `carried` entries, which are images and start the next segment. */
  #cut(carried: number): void {
    const length = this.#length - carried;
    const carriedPositions = carried * this.#limits.tokensPerImage;
    this.#emit({
      document: this.#document,
      part: this.#part++,
      entries: this.#entries.slice(0, length),
      targets: this.#hasPrompt ? this.#targets.slice(0, length) : null,
      images: this.#images.slice(0, this.#images.length - carried),
      positions: this.#positions - carriedPositions,
    });
    this.#entries.fill(IMAGE_ENTRY, 0, carried);
    this.#targets.fill(0, 0, carried);
    this.#images = this.#images.slice(this.#images.length - carried);
    this.#length = carried;
    this.#positions = carriedPositions;
  }
}

/** Makes one segment of a document: its first image, as much of its text as fits behind it, and the end of the text. */
export class PairSegmenter {
  readonly #document: number;
  readonly #emit: (segment: Segment) => void;
  readonly #entries: Int32Array;
  #length = 1;
  #image: ImageLocation | undefined;

  /** @param emit called once, at the end */
  constructor({ sequenceLength }: PackingLimits, document: number, emit: (segment: Segment) => void) {
    this.#document = document;
    this.#emit = emit;
    this.#entries = new Int32Array(sequenceLength).fill(IMAGE_ENTRY, 0, 1);
  }

  addTokens(ids: Int32Array): void {
    // The last position is that of the end.
    const run = ids.subarray(0, this.#entries.length - 1 - this.#length);
    this.#entries.set(run, this.#length);
    this.#length += run.length;
  }

  addImage(image: ImageLocation): void {
    this.#image ??= { ...image, view: 0 };
  }

  get isEmpty(): boolean {
    return this.#image === undefined || this.#length === 1;
  }

  get emptyBecause(): string {
    return 'it is no pair of an image and a caption';
  }

  end(endOfTextId: number): void {
    this.#entries[this.#length++] = endOfTextId;
    const images = this.#image === undefined ? [] : [this.#image];
    const entries = this.#entries.slice(0, this.#length);
    this.#emit({ document: this.#document, part: 0, entries, targets: null, images, positions: this.#length });
  }
}

interface OpenSequence<S> {
  readonly segments: S[];
  positions: number;
  images: number;
}

/**
 * Packs segments into sequences by best fit: a segment goes to the fullest open sequence that has space for it (ties:
 * the oldest), or opens a new one. When 64 are open, the fullest is closed first. Deterministic: the same segments in
 * the same order give the same sequences.
 */
export class SequencePacker<S extends PackableSegment> {
  readonly #limits: PackingLimits;
  readonly #emit: (segments: readonly S[]) => void;
  /** Oldest first. */
  #open: OpenSequence<S>[] = [];

  /** @param emit called with the segments of each finished sequence, in the order they were added */
  constructor(limits: PackingLimits, emit: (segments: readonly S[]) => void) {
    this.#limits = limits;
    this.#emit = emit;
  }

  add(segment: S): void {
    const sequence = this.#bestFit(segment) ?? this.#openNew();
    sequence.segments.push(segment);
    sequence.positions += segment.positions;
    sequence.images += segment.images.length;
    if (sequence.positions === this.#limits.sequenceLength) this.#close(sequence);
  }

  /** Closes the open sequences, oldest first. */
  finish(): void {
    for (const sequence of this.#open) this.#emit(sequence.segments);
    this.#open = [];
  }

  #bestFit(segment: S): OpenSequence<S> | undefined {
    let best: OpenSequence<S> | undefined;
    for (const sequence of this.#open) {
      const fits =
        sequence.positions + segment.positions <= this.#limits.sequenceLength &&
        sequence.images + segment.images.length <= this.#limits.imagesPerSequence;
      if (fits && (best === undefined || sequence.positions > best.positions)) best = sequence;
    }
    return best;
  }

  #openNew(): OpenSequence<S> {
    if (this.#open.length === OPEN_SEQUENCES)
      this.#close(this.#open.reduce((fullest, each) => (each.positions > fullest.positions ? each : fullest)));
    const sequence: OpenSequence<S> = { segments: [], positions: 0, images: 0 };
    this.#open.push(sequence);
    return sequence;
  }

  #close(sequence: OpenSequence<S>): void {
    this.#open.splice(this.#open.indexOf(sequence), 1);
    this.#emit(sequence.segments);
  }
}
