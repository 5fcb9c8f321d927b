import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { decodeImage, decodeViews } from './decode-image.js';

const pixel = (pixels: Uint8Array, size: number, x: number, y: number) => [
  ...pixels.subarray((y * size + x) * 3, (y * size + x) * 3 + 3),
];

/** Left half red, right half blue. */
const twoColours = (width: number, height: number) => {
  const raw = Buffer.alloc(width * height * 3);
  for (let i = 0; i < width * height; i++) raw[i * 3 + (i % width < width / 2 ? 0 : 2)] = 255;
  return sharp(raw, { raw: { width, height, channels: 3 } });
};

describe('decodeImage', () => {
  it('stretches the whole picture to a square', async () => {
    const pixels = await decodeImage(await twoColours(40, 10).png().toBuffer(), 8);
    expect(pixels).toHaveLength(8 * 8 * 3);
    expect(pixel(pixels, 8, 0, 4)).toEqual([255, 0, 0]);
    expect(pixel(pixels, 8, 7, 4)).toEqual([0, 0, 255]);
  });

  it('lays transparency on white', async () => {
    const transparent = sharp({
      create: { width: 4, height: 4, channels: 4, background: { r: 0, g: 0, b: 0, alpha: 0 } },
    });
    const half = sharp({ create: { width: 4, height: 4, channels: 4, background: { r: 0, g: 0, b: 0, alpha: 0.5 } } });
    expect(pixel(await decodeImage(await transparent.png().toBuffer(), 4), 4, 1, 1)).toEqual([255, 255, 255]);
    const [grey] = pixel(await decodeImage(await half.png().toBuffer(), 4), 4, 1, 1);
    expect(Math.abs(grey! - 127)).toBeLessThanOrEqual(1);
  });

  it('turns a photograph upright by its EXIF tag', async () => {
    const lying = await twoColours(16, 16).withMetadata({ orientation: 6 }).png().toBuffer();
    const pixels = await decodeImage(lying, 8);
    expect(pixel(pixels, 8, 4, 0)).toEqual([255, 0, 0]);
    expect(pixel(pixels, 8, 4, 7)).toEqual([0, 0, 255]);
  });

  it('makes three colours of grey, palette, 16-bit and CMYK pictures', async () => {
    const white = { create: { width: 4, height: 4, channels: 3 as const, background: '#ffffff' } };
    for (const encoded of [
      await sharp(white).greyscale().png().toBuffer(),
      await sharp(white).png({ palette: true }).toBuffer(),
      await sharp(white).toColourspace('rgb16').png().toBuffer(),
      await sharp(white).toColourspace('cmyk').jpeg().toBuffer(),
      await sharp(white).webp().toBuffer(),
      await sharp(white).gif().toBuffer(),
    ])
      expect((await decodeImage(encoded, 4)).every((value) => value >= 250)).toBe(true);
  });

  it('enlarges without a shift', async () => {
    const [side, size] = [112, 336];
    const raw = Buffer.alloc(side * side * 3);
    for (let y = 0; y < side; y++) raw.fill(255, (y * side + 50) * 3, (y * side + 50) * 3 + 3);
    const line = await sharp(raw, { raw: { width: side, height: side, channels: 3 } })
      .png()
      .toBuffer();
    for (const interpolation of ['lanczos', 'bicubic'] as const) {
      const pixels = await decodeImage(line, size, { fit: 'stretch', interpolation });
      let [sum, weighted] = [0, 0];
      for (let x = 0; x < size; x++) {
        const [value = 0] = pixel(pixels, size, x, 100);
        sum += value;
        weighted += value * x;
      }
      expect(weighted / sum).toBeCloseTo(151, 3);
    }
  });

  it.each([
    ['between its tables and its data', 0],
    ['at its end', 1],
  ])('decodes a JPEG with bytes too many %s, as Pillow does', async (_, where) => {
    const encoded = await twoColours(300, 200).jpeg().toBuffer();
    const at = where === 0 ? encoded.indexOf(Buffer.from([0xff, 0xda])) : encoded.length;
    const odd = Buffer.concat([encoded.subarray(0, at), Buffer.alloc(4), encoded.subarray(at)]);
    expect(await decodeImage(odd, 8)).toEqual(await decodeImage(encoded, 8));
  });

  it('takes the colours of CMYK from its profile', async () => {
    for (const colour of ['#a05050', '#50a050', '#6080a0', '#808080']) {
      const rgb = sharp({ create: { width: 8, height: 8, channels: 3, background: colour } });
      const cmyk = await rgb.clone().withIccProfile('cmyk').jpeg({ quality: 100 }).toBuffer();
      expect((await sharp(cmyk).metadata()).space).toBe('cmyk');
      const found = pixel(await decodeImage(cmyk, 8), 8, 4, 4);
      const wanted = pixel(await decodeImage(await rgb.png().toBuffer(), 8), 8, 4, 4);
      for (const [i, value] of found.entries()) expect(Math.abs(value - wanted[i]!)).toBeLessThan(30);
    }
  });

  it.each([
    ['<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"><rect width="8" height="8"/></svg>'],
    ['<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg" width="30000" height="30000"/>'],
  ])('refuses a drawing: %s', async (drawing) => {
    await expect(decodeImage(Buffer.from(drawing), 8)).rejects.toThrow('it is a drawing (svg), not an image of pixels');
  });

  it('refuses what is cut off, no image at all, or absurdly large', async () => {
    const encoded = await twoColours(64, 64).jpeg().toBuffer();
    await expect(decodeImage(encoded.subarray(0, encoded.length / 2), 8)).rejects.toThrow();
    await expect(decodeImage(Buffer.from('hello'), 8)).rejects.toThrow('unsupported image format');
  });

  it('refuses by their size what would have to be decoded as a whole', async () => {
    const png = await twoColours(8, 8).png().toBuffer();
    png.writeUInt32BE(30_000, 16);
    png.writeUInt32BE(3000, 20);
    png.writeUInt32BE(crc32(png.subarray(12, 29)), 29);
    await expect(decodeImage(png, 8)).rejects.toThrow(
      'it has 30000 × 3000 pixels, more than 67108864: make it smaller',
    );
    const jpeg = await twoColours(8, 8).jpeg({ progressive: true }).toBuffer();
    const frame = jpeg.indexOf(Buffer.from([0xff, 0xc2]));
    jpeg.writeUInt16BE(60_000, frame + 5);
    jpeg.writeUInt16BE(60_000, frame + 7);
    await expect(decodeImage(jpeg, 8)).rejects.toThrow(/60000 × 60000 pixels|pixel limit/);
  });
});

/** Channel c of the pixel in column x and row y is (37x + 101y + 59c + 13xy) mod 256. */
function pattern(width: number, height: number): Buffer {
  const data = Buffer.alloc(width * height * 3);
  for (let i = 0; i < data.length; i++) {
    const [c, x, y] = [i % 3, Math.floor(i / 3) % width, Math.floor(i / 3 / width)];
    data[i] = (x * 37 + y * 101 + c * 59 + x * y * 13) % 256;
  }
  return data;
}

const encoded = (width: number, height: number) =>
  sharp(pattern(width, height), { raw: { width, height, channels: 3 } })
    .png({ compressionLevel: 1 })
    .toBuffer();

describe('decodeViews', () => {
  const hash = (pixels: Uint8Array) => createHash('sha256').update(pixels).digest('hex').slice(0, 16);

  // Pillow 13: the picture resized to the view, and to the whole grid, of which numpy cuts the parts.
  it.each([
    [
      ...[1344, 1344, 672, 2, 2],
      ['e42f5adeeafdebb5', '31648483a88d4a46', '88999e4a9ee1c127', '3df6629834362a61', '9d4430c5eff08e87'],
    ],
    [
      ...[900, 700, 672, 2, 2],
      ['15207c4c01c3cf6e', '1d3ea8eb76941d70', 'db2cc3c6f9d2563b', '696602288cb59fbd', 'e764679394186a10'],
    ],
    [...[100, 40, 16, 1, 3], ['4e6296b2b7c7f80a', 'a005ad0e23f3aebc', '425edd0105fe87d5', '17403dc0be2689d0']],
  ] as const)(
    'makes of %d×%d pixels an overview of %d and %d×%d parts, pixel by pixel what Pillow and numpy make',
    async (width, height, size, rows, columns, expected) => {
      const preprocessing = { fit: 'stretch', interpolation: 'bicubic', subImages: { rows, columns } } as const;
      const views = await decodeViews(await encoded(width, height), size, preprocessing);
      expect(views.map(hash)).toEqual(expected);
    },
  );

  it('cuts a picture of 1344 pixels into its own pixels, whatever the interpolation', async () => {
    const preprocessing = { fit: 'stretch', interpolation: 'lanczos', subImages: { rows: 2, columns: 2 } } as const;
    const [overview, ...parts] = await decodeViews(await encoded(1344, 1344), 672, preprocessing);
    const whole = pattern(1344, 1344);
    expect(Buffer.from(overview!).equals(await decodeImage(await encoded(1344, 1344), 672))).toBe(true);
    const differing = parts.flatMap((part, view) => {
      const [top, left] = [Math.floor(view / 2) * 672, (view % 2) * 672];
      return Array.from({ length: 672 }, (_, y) => y).filter((y) => {
        const from = ((top + y) * 1344 + left) * 3;
        return !whole.subarray(from, from + 672 * 3).equals(part.subarray(y * 672 * 3, (y + 1) * 672 * 3));
      });
    });
    expect([parts.length, differing]).toEqual([4, []]);
  });

  it('gives the whole picture alone where nothing is cut', async () => {
    const picture = await encoded(40, 30);
    const views = await decodeViews(picture, 8, { fit: 'stretch', interpolation: 'lanczos', subImages: null });
    expect(views).toEqual([await decodeImage(picture, 8)]);
  });
});
