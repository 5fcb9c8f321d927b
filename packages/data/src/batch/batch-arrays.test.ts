import { DEFAULT_IMAGES } from '@weft/config';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { channelValues } from '../formats/decode-image.js';
import type { PackedSequence } from '../index/packed-sequence.js';
import { IMAGE_ENTRY, type PackingLimits, type Segment } from '../index/packed-sequence.js';
import { emptyBatch, fillImage, fillRows } from './batch-arrays.js';

const limits: PackingLimits = { sequenceLength: 24, tokensPerImage: 4, imagesPerSequence: 3, viewsPerPicture: 1 };
const PAD_TOKEN = 257;
const location = { shard: 0, offset: 0, bytes: 1, view: 0 };

/** Rows that keep within the limits: entries are token ids or images. */
const row: fc.Arbitrary<PackedSequence> = fc
  .array(
    fc.tuple(
      fc.array(fc.oneof(fc.nat(255), fc.constant(IMAGE_ENTRY)), { minLength: 1, maxLength: 12 }),
      fc.option(fc.uint8Array({ minLength: 12, maxLength: 12, max: 1 })),
    ),
    { maxLength: 5 },
  )
  .map((lists) => {
    const segments = lists.map(([list, targets], document): Segment => {
      const images = list.filter((entry) => entry === IMAGE_ENTRY).map(() => location);
      const positions = list.length + images.length * (limits.tokensPerImage - 1);
      return { document, part: 0, entries: Int32Array.from(list), targets, images, positions };
    });
    const positions = segments.reduce((sum, segment) => sum + segment.positions, 0);
    return { source: 'captioned' as const, index: 0, segments, positions };
  })
  .filter(
    ({ segments, positions }) =>
      positions <= limits.sequenceLength &&
      segments.reduce((sum, { images }) => sum + images.length, 0) <= limits.imagesPerSequence,
  );

/** What stands at one position of a row. */
type Cell =
  | { kind: 'padding' }
  | { kind: 'text'; segment: number; at: number; token: number; isPrompt: boolean }
  | { kind: 'image'; segment: number; at: number; image: number; k: number };

/** The same rows, position by position, written without looking at the code under test. */
function cellsOf(sequence: PackedSequence | undefined): Cell[] {
  const cells: Cell[] = [];
  let image = 0;
  sequence?.segments.forEach((segment, number) => {
    let at = 0;
    for (const [i, entry] of segment.entries.entries()) {
      const isPrompt = segment.targets?.[i] === 0;
      if (entry !== IMAGE_ENTRY) cells.push({ kind: 'text', segment: number, at: at++, token: entry, isPrompt });
      else {
        for (let k = 0; k < limits.tokensPerImage; k++)
          cells.push({ kind: 'image', segment: number, at: at++, image, k });
        image++;
      }
    }
  });
  while (cells.length < limits.sequenceLength) cells.push({ kind: 'padding' });
  return cells;
}

describe('a batch', () => {
  it('says at every position what an independent reading of the rows says', () => {
    fc.assert(
      fc.property(fc.array(row, { minLength: 1, maxLength: 3 }), fc.nat(2), (rows, extra) => {
        const microbatchSize = rows.length + extra;
        const batch = emptyBatch(limits, microbatchSize, PAD_TOKEN, 0);
        const counts = fillRows(batch, limits, rows);
        let targets = 0;
        let firstImage = 0;
        for (let b = 0; b < microbatchSize; b++) {
          const cells = cellsOf(rows[b]);
          cells.forEach((cell, t) => {
            const i = b * limits.sequenceLength + t;
            expect(batch.tokenIds_BT[i]).toBe(cell.kind === 'text' ? cell.token : PAD_TOKEN);
            expect(batch.segmentIds_BT[i]).toBe(cell.kind === 'padding' ? 0 : cell.segment + 1);
            expect(batch.positions_BT[i]).toBe(cell.kind === 'padding' ? 0 : cell.at);
            const imageRow = cell.kind === 'image' ? (firstImage + cell.image) * limits.tokensPerImage + cell.k + 1 : 0;
            expect(batch.imageTokenIndex_BT[i]).toBe(imageRow);

            const next = cells[t + 1];
            const follows = next?.kind === 'text' && cell.kind !== 'padding' && cell.segment === next.segment;
            const hasTarget = follows && !next.isPrompt;
            expect(batch.lossMask_BT[i]).toBe(hasTarget ? 1 : 0);
            expect(batch.targetIds_BT[i]).toBe(hasTarget ? next.token : 0);
            if (hasTarget) targets++;
          });
          firstImage += rows[b]?.segments.reduce((sum, { images }) => sum + images.length, 0) ?? 0;
        }
        expect(counts.reduce((sum, count) => sum + count, 0)).toBe(targets);
      }),
    );
  });

  it('holds an image where its number says, from −1 for black to 1 for white, and none where there is no room', () => {
    const batch = emptyBatch(limits, 2, PAD_TOKEN, 6 * 12);
    const image = Uint8Array.from({ length: 12 }, (_, i) => (i === 0 ? 0 : 255));
    fillImage(batch, 4, image, channelValues(DEFAULT_IMAGES));
    const { images_NHWC = new Float32Array() } = batch;
    expect([...images_NHWC.subarray(4 * 12, 5 * 12)]).toEqual([-1, ...new Array<number>(11).fill(1)]);
    expect(images_NHWC.subarray(0, 4 * 12).every((value) => value === 0)).toBe(true);
    expect(images_NHWC).toHaveLength(6 * 12);
    const text = emptyBatch(limits, 2, PAD_TOKEN, 0);
    expect(text).not.toHaveProperty('images_NHWC');
    expect(() => fillImage(text, 0, image, channelValues(DEFAULT_IMAGES))).toThrow('no room for images');
  });
});
