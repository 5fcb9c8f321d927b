import { WeftError } from '@weft/common';
import sharp from 'sharp';
import type { Dataset } from './dataset.js';
import type { PackedSequence } from './packed-sequence.js';

const TILE = 192;
const GAP = 12;
const COLUMNS = 6;
/** Pixels of the square of a digit's dot. */
const DOT = 3;

/** The digits as rows of three dots, from 0 to 9. */
const DIGITS = [
  ['###', '# #', '# #', '# #', '###'],
  [' # ', '## ', ' # ', ' # ', '###'],
  ['###', '  #', '###', '#  ', '###'],
  ['###', '  #', ' ##', '  #', '###'],
  ['# #', '# #', '###', '  #', '  #'],
  ['###', '#  ', '###', '  #', '###'],
  ['###', '#  ', '###', '# #', '###'],
  ['###', '  #', '  #', ' # ', ' # '],
  ['###', '# #', '###', '# #', '###'],
  ['###', '# #', '###', '  #', '###'],
] as const;

/**
 * The images of a packed sequence on one sheet, as the model sees them, each with its number in the sequence, from 1.
 *
 * @returns a PNG
 * @throws WeftError `not_found` for a sequence without images
 */
export async function contactSheet(dataset: Dataset, { source, index, segments }: PackedSequence): Promise<Buffer> {
  const images = segments.flatMap((segment) => segment.images);
  if (images.length === 0)
    throw new WeftError('not_found', `${source} sequence ${index} has no images for a sheet`, {
      hint: `choose another sequence, or another source`,
    });
  const { imageSize } = dataset;
  const tiles = await Promise.all(
    images.map(async (image) =>
      sharp(await dataset.readImage(source, image), { raw: { width: imageSize, height: imageSize, channels: 3 } })
        .resize(TILE, TILE, { fit: 'fill', kernel: 'nearest' })
        .png()
        .toBuffer(),
    ),
  );
  const columns = Math.min(COLUMNS, tiles.length);
  const rows = Math.ceil(tiles.length / columns);
  const side = TILE + GAP;
  const placed = tiles.flatMap((input, i) => {
    const [left, top] = [GAP + (i % columns) * side, GAP + Math.floor(i / columns) * side];
    const { data, width, height } = numberPicture(i + 1);
    return [
      { input, left, top },
      { input: data, raw: { width, height, channels: 3 as const }, left, top },
    ];
  });
  return await sharp({
    create: { width: GAP + columns * side, height: GAP + rows * side, channels: 3, background: '#e6e6e6' },
  })
    .composite(placed)
    .png()
    .toBuffer();
}

/** A number, black on white. */
function numberPicture(number: number): { readonly data: Buffer; readonly width: number; readonly height: number } {
  const digits = [...`${number}`].map((digit) => DIGITS[Number(digit)] ?? DIGITS[0]);
  const lines = ['', ...Array.from({ length: 5 }, (_, row) => digits.map((digit) => digit[row]).join(' ')), ''];
  const dots = digits.length * 4 + 1;
  const [width, height] = [dots * DOT, lines.length * DOT];
  const data = Buffer.alloc(width * height * 3, 255);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++)
      if (lines[Math.floor(y / DOT)]?.[Math.floor(x / DOT) - 1] === '#')
        data.fill(0, (y * width + x) * 3, (y * width + x) * 3 + 3);
  return { data, width, height };
}
