import { WeftError } from '@weft/common';
import sharp from 'sharp';

/** Enough for any image that is resized to a few hundred pixels; stops decompression bombs. */
const LARGEST_IMAGE_PIXELS = 64 * 1024 * 1024;

const CHANNELS = 3;

let isPrepared = false;

/** One thread per image, because several are decoded at once; no cache, because decoded images are cached here. */
function prepareSharp(): void {
  if (isPrepared) return;
  sharp.concurrency(1);
  sharp.cache(false);
  isPrepared = true;
}

/**
 * Decodes an image of any common format on a thread of its own: rotated upright by its EXIF tag, transparency
 * flattened on white, stretched to a square (so nothing of the picture is cropped), 8 bits per channel.
 *
 * @param imageSize height and width of the result, pixels
 * @returns imageSize · imageSize · 3 bytes, row by row, red, green, blue
 * @throws the decoder's error for bytes that are not an image, are truncated, or claim more than 64 Mi pixels
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

/** The `corrupt_data` error for an image that cannot be decoded. A WeftError passes through unchanged. */
export function undecodableImage(member: string, shardPath: string, cause: unknown): WeftError {
  if (WeftError.is(cause)) return cause;
  const reason = WeftError.from(cause).message.replace(/\s+/g, ' ').trim();
  return new WeftError('corrupt_data', `the image ${member} in ${shardPath} cannot be decoded: ${reason}`, {
    hint: 'replace the shard with an intact copy, or rebuild it without this sample',
    cause,
  });
}
