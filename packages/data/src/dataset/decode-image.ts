import sharp from 'sharp';

/** No image that is resized to a few hundred pixels needs more; a decompression bomb does. */
const LARGEST_IMAGE_PIXELS = 64 * 1024 * 1024;

/** Colours per pixel of a decoded image. */
export const CHANNELS = 3;

let isPrepared = false;

/** Images are decoded several at a time, one thread each, and every one is kept by us or not at all. */
function prepareSharp(): void {
  if (isPrepared) return;
  sharp.concurrency(1);
  sharp.cache(false);
  isPrepared = true;
}

/**
 * Decodes an image of any common format on a thread of its own: turned upright by its EXIF tag, transparency laid on
 * white, stretched to a square (so that nothing of the picture is cut away), 8 bits per colour.
 *
 * @param imageSize height and width of the result, pixels.
 * @returns imageSize · imageSize · 3 bytes, row by row, red, green, blue.
 * @throws whatever the decoder says about bytes that are not an image, are cut off, or claim absurd dimensions.
 */
export async function decodeImage(encoded: Uint8Array, imageSize: number): Promise<Uint8Array> {
  prepareSharp();
  const { data, info } = await sharp(encoded, { failOn: 'warning', limitInputPixels: LARGEST_IMAGE_PIXELS })
    .rotate()
    .flatten({ background: '#ffffff' })
    .resize(imageSize, imageSize, { fit: 'fill' })
    .toColourspace('srgb')
    .removeAlpha()
    .raw({ depth: 'uchar' })
    .toBuffer({ resolveWithObject: true });
  if (info.channels !== CHANNELS || data.length !== imageSize * imageSize * CHANNELS)
    throw new Error(`the decoded image has ${info.channels} channels`);
  return data;
}
