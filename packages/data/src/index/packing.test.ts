import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ImageLocation } from '../formats/document.js';
import { IMAGE_ENTRY, type PackingLimits, type Segment } from './packed-sequence.js';
import { Segmenter, SequencePacker } from './packing.js';

/** Runs of text and images, in reading order. */
type Part = { readonly tokens: readonly number[] } | { readonly image: ImageLocation };

const limits: fc.Arbitrary<PackingLimits> = fc
  .record({
    sequenceLength: fc.integer({ min: 2, max: 40 }),
    tokensPerImage: fc.integer({ min: 1, max: 9 }),
    imagesPerSequence: fc.integer({ min: 1, max: 8 }),
    viewsPerPicture: fc.constantFrom(1, 2, 5),
  })
  .filter(
    ({ sequenceLength, tokensPerImage, imagesPerSequence, viewsPerPicture }) =>
      viewsPerPicture * tokensPerImage < sequenceLength && viewsPerPicture <= imagesPerSequence,
  );
const part: fc.Arbitrary<Part> = fc.oneof(
  fc.record({ tokens: fc.array(fc.nat(300), { maxLength: 60 }) }),
  fc.record({ image: fc.record({ shard: fc.nat(3), offset: fc.nat(1e6), bytes: fc.nat(1e4), view: fc.constant(0) }) }),
);
const documents = fc.array(fc.array(part, { minLength: 1, maxLength: 8 }), { maxLength: 40 });

function cut(parts: readonly Part[], bounds: PackingLimits, document = 0): Segment[] {
  const segments: Segment[] = [];
  const cutter = new Segmenter(bounds, document, (segment) => segments.push(segment));
  for (const each of parts) {
    if ('image' in each) cutter.addImage(each.image);
    else cutter.addTokens(Int32Array.from(each.tokens));
  }
  cutter.finish();
  return segments;
}

function pack(all: readonly (readonly Part[])[], bounds: PackingLimits): (readonly Segment[])[] {
  const rows: (readonly Segment[])[] = [];
  const packer = new SequencePacker<Segment>(bounds, (segments) => rows.push(segments));
  for (const [document, parts] of all.entries())
    for (const segment of cut(parts, bounds, document)) packer.add(segment);
  packer.finish();
  return rows;
}

/** A document as one list: token ids, and the image where one stands. */
function flat(parts: readonly Part[], { viewsPerPicture }: PackingLimits): (number | ImageLocation)[] {
  return parts.flatMap((each): (number | ImageLocation)[] =>
    'image' in each
      ? Array.from({ length: viewsPerPicture }, (_, view) => ({ ...each.image, view }))
      : [...each.tokens],
  );
}

function flatSegments(segments: readonly Segment[]): (number | ImageLocation)[] {
  return segments.flatMap(({ entries, images }) => {
    let next = 0;
    return [...entries].map((entry) => (entry === IMAGE_ENTRY ? images[next++]! : entry));
  });
}

describe('packing', () => {
  it('loses nothing and repeats nothing: the segments of a document, in order, are the document', () => {
    fc.assert(
      fc.property(documents, limits, (all, bounds) => {
        const segments = pack(all, bounds).flat();
        for (const [document, parts] of all.entries()) {
          const own = segments.filter((segment) => segment.document === document).sort((a, b) => a.part - b.part);
          expect(own.map((segment) => segment.part)).toEqual(own.map((_, i) => i));
          expect(flatSegments(own)).toEqual(flat(parts, bounds));
        }
      }),
    );
  });

  it('never overfills a row, never splits an image, never makes an empty segment', () => {
    fc.assert(
      fc.property(documents, limits, (all, bounds) => {
        for (const row of pack(all, bounds)) {
          expect(row.length).toBeGreaterThan(0);
          expect(row.reduce((sum, segment) => sum + segment.positions, 0)).toBeLessThanOrEqual(bounds.sequenceLength);
          expect(row.reduce((sum, segment) => sum + segment.images.length, 0)).toBeLessThanOrEqual(
            bounds.imagesPerSequence,
          );
          for (const { entries, images, positions } of row) {
            const marks = entries.filter((entry) => entry === IMAGE_ENTRY).length;
            expect(marks).toBe(images.length);
            expect(positions).toBe(entries.length - marks + marks * bounds.tokensPerImage);
            expect(entries.length).toBeGreaterThan(0);
            // Views of a picture stay together, in their order.
            expect(images.map(({ view }) => view)).toEqual(images.map((_, i) => i % bounds.viewsPerPicture));
          }
        }
      }),
    );
  });

  it('leaves a document that fits a row in one segment', () => {
    fc.assert(
      fc.property(documents, limits, (all, bounds) => {
        for (const parts of all) {
          const images = bounds.viewsPerPicture * parts.filter((each) => 'image' in each).length;
          const positions = flat(parts, bounds).length + images * (bounds.tokensPerImage - 1);
          if (positions > 0 && positions <= bounds.sequenceLength && images <= bounds.imagesPerSequence)
            expect(cut(parts, bounds)).toHaveLength(1);
        }
      }),
    );
  });

  it('lets images at a cut move on to the text after them', () => {
    const bounds = { sequenceLength: 10, tokensPerImage: 4, imagesPerSequence: 4, viewsPerPicture: 1 };
    const image = { shard: 0, offset: 0, bytes: 1, view: 0 };
    const segments = cut([{ tokens: [1, 2, 3, 4, 5, 6] }, { image }, { tokens: [7, 8] }], bounds);
    expect(segments.map(({ entries }) => [...entries])).toEqual([
      [1, 2, 3, 4, 5, 6],
      [IMAGE_ENTRY, 7, 8],
    ]);
  });

  it('fills rows well: small segments go into the gaps large ones leave', () => {
    const bounds = { sequenceLength: 100, tokensPerImage: 4, imagesPerSequence: 4, viewsPerPicture: 1 };
    const sized = (length: number): Part[] => [{ tokens: new Array<number>(length).fill(1) }];
    const rows = pack([70, 60, 55, 45, 40, 30].map(sized), bounds);
    expect(rows.map((row) => row.map(({ positions }) => positions))).toEqual([
      [55, 45],
      [60, 40],
      [70, 30],
    ]);
  });

  it('keeps no more rows open than it says, and closes the fullest first', () => {
    const bounds = { sequenceLength: 100, tokensPerImage: 4, imagesPerSequence: 4, viewsPerPicture: 1 };
    const rows: number[] = [];
    const packer = new SequencePacker<Segment>(bounds, ([segment]) => rows.push(segment!.document));
    for (let document = 0; document < 66; document++)
      for (const segment of cut([{ tokens: new Array<number>(document === 5 ? 90 : 60).fill(1) }], bounds, document))
        packer.add(segment);
    expect(rows).toEqual([5, 0]);
  });
});
