import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { decodeImage } from './decode-image.js';

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

  it('refuses what is cut off, no image at all, or absurdly large', async () => {
    const encoded = await twoColours(64, 64).jpeg().toBuffer();
    await expect(decodeImage(encoded.subarray(0, encoded.length / 2), 8)).rejects.toThrow();
    await expect(decodeImage(Buffer.from('hello'), 8)).rejects.toThrow('unsupported image format');
    const bomb = Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="30000" height="30000"/>');
    await expect(decodeImage(bomb, 8)).rejects.toThrow('pixel limit');
  });
});
