import { WeftError } from '@weft/common';
import { DEFAULT_IMAGES, type ImagePreprocessing } from '@weft/config';
import sharp, { type Metadata, type Sharp } from 'sharp';
import { resample, type Size } from './resample.js';

/** A picture that is decoded as a whole takes at most 192 MiB. */
const LARGEST_IMAGE_PIXELS = 64 * 1024 * 1024;
/** A JPEG whose rows follow one another is made smaller while it is read. */
const LARGEST_JPEG_PIXELS = 2048 * 1024 * 1024;
/** The sides of a JPEG that is too large to be decoded as a whole, before it is resampled. */
const REDUCED_SIDE = 8192;

const CHANNELS = 3;

let isPrepared = false;

/** One thread per image, because several are decoded at once; no cache, because decoded images are cached here. */
function prepareSharp(): void {
  if (isPrepared) return;
  sharp.concurrency(1);
  sharp.cache(false);
  isPrepared = true;
}

/** How a picture is read. */
type Preprocessing = Pick<ImagePreprocessing, 'fit' | 'interpolation'>;

/**
 * Decodes an image of any common format on a thread of its own: rotated upright by its EXIF tag, transparency
 * flattened on white, made a square, 8 bits per channel.
 *
 * @param imageSize height and width of the result, pixels
 * @param preprocessing how it becomes a square. Default: it is stretched, so that nothing of the picture is lost
 * @returns imageSize · imageSize · 3 bytes, row by row, red, green, blue
 * @throws the decoder's error for bytes that are not an image or are truncated; an error for a drawing (SVG) and for more than
 * 64 Mi pixels, of a JPEG that is not progressive 2 Gi
 */
export function decodeImage(
  encoded: Uint8Array,
  imageSize: number,
  preprocessing: Preprocessing = DEFAULT_IMAGES,
): Promise<Uint8Array> {
  return decodeTo(encoded, { width: imageSize, height: imageSize }, preprocessing);
}

/** Pixels of the throw-away result of a check; the whole image is decoded whatever this size. */
const CHECKED_SIZE = 8;
/** A picture of fewer pixels is decoded faster than it is made smaller. */
const SMALL_IMAGE_PIXELS = 256 * 256;
/** Their pixels always become red, green and blue. */
const PLAIN_SPACES = ['srgb', 'b-w'];

/** Decodes an image and keeps nothing of it. @throws as `decodeImage` */
export async function checkImage(encoded: Uint8Array): Promise<void> {
  const picture = openPicture(encoded);
  const metadata = await picture.metadata();
  const isSmall = metadata.width * metadata.height <= SMALL_IMAGE_PIXELS && PLAIN_SPACES.includes(metadata.space);
  if (isSmall && metadata.channels <= 4) {
    checkSize(metadata);
    await picture.raw().toBuffer();
  } else await resized(picture, metadata, { width: CHECKED_SIZE, height: CHECKED_SIZE }, DEFAULT_IMAGES);
}

/**
 * The views of a picture, each as `decodeImage` gives one: the whole, and behind it the parts of the grid of `subImages`, row
 * by row. For these the picture becomes as many times larger as the grid has rows and columns, and is then cut.
 *
 * @throws as `decodeImage`
 */
export async function decodeViews(
  encoded: Uint8Array,
  imageSize: number,
  preprocessing: Preprocessing & Pick<ImagePreprocessing, 'subImages'>,
): Promise<readonly Uint8Array[]> {
  const overview = await decodeImage(encoded, imageSize, preprocessing);
  if (preprocessing.subImages === null) return [overview];
  const { rows, columns } = preprocessing.subImages;
  const size = { width: columns * imageSize, height: rows * imageSize };
  const large = await decodeTo(encoded, size, preprocessing);
  const parts = Array.from({ length: rows * columns }, (_, i) => {
    const [top, left] = [Math.floor(i / columns) * imageSize, (i % columns) * imageSize];
    const part = new Uint8Array(imageSize * imageSize * CHANNELS);
    for (let y = 0; y < imageSize; y++) {
      const from = ((top + y) * size.width + left) * CHANNELS;
      part.set(large.subarray(from, from + imageSize * CHANNELS), y * imageSize * CHANNELS);
    }
    return part;
  });
  return [overview, ...parts];
}

async function decodeTo(encoded: Uint8Array, size: Size, preprocessing: Preprocessing): Promise<Uint8Array> {
  const picture = openPicture(encoded);
  return await resized(picture, await picture.metadata(), size, preprocessing);
}

function openPicture(encoded: Uint8Array): Sharp {
  prepareSharp();
  return sharp(encoded, { failOn: 'error', limitInputPixels: LARGEST_JPEG_PIXELS });
}

async function resized(
  picture: Sharp,
  metadata: Metadata,
  size: Size,
  preprocessing: Preprocessing,
): Promise<Uint8Array> {
  const { isLarge, ...original } = checkSize(metadata);
  const upright = picture.rotate().flatten({ background: '#ffffff' });
  const isEnlarged = size.width > original.width || size.height > original.height;
  // When it enlarges, libvips shifts a picture by half a pixel.
  if (preprocessing.interpolation === 'lanczos' && preprocessing.fit === 'stretch' && !isEnlarged)
    return (await colours(upright.resize(size.width, size.height, { fit: 'fill' }))).data;
  const reduced = isLarge ? upright.resize(REDUCED_SIDE, REDUCED_SIDE, { fit: 'inside' }) : upright;
  return resample(await colours(reduced), size, preprocessing);
}

/** The size of an upright picture, and whether it is too large to be decoded as a whole. Throws for what is not decoded. */
function checkSize({ format, width, height, orientation = 1, isProgressive = false }: Metadata) {
  if (format === 'svg' || format === 'pdf')
    throw new Error(`it is a drawing (${format}), not an image of pixels: draw it to a .png`);
  const isLarge = width * height > LARGEST_IMAGE_PIXELS;
  if (isLarge && (format !== 'jpeg' || isProgressive))
    throw new Error(
      `it has ${width} × ${height} pixels, more than ${LARGEST_IMAGE_PIXELS}: make it smaller, or a JPEG that is not progressive`,
    );
  return orientation >= 5 ? { width: height, height: width, isLarge } : { width, height, isLarge };
}

/** The pixels of a picture, row by row, 8 bits for each of red, green and blue. */
async function colours(picture: Sharp) {
  const { data, info } = await picture
    .toColourspace('srgb')
    .removeAlpha()
    .raw({ depth: 'uchar' })
    .toBuffer({ resolveWithObject: true });
  const { width, height, channels } = info;
  if (channels !== CHANNELS || data.length !== width * height * CHANNELS)
    throw new Error(`the decoded image has ${channels} channels`);
  return { data, width, height };
}

/**
 * What the 256 values of each channel are for the encoder, (value / 255 − mean) / deviation: those of red, of green, of
 * blue.
 */
export function channelValues({ mean, deviation }: Pick<ImagePreprocessing, 'mean' | 'deviation'>): Float32Array {
  const channels = (['red', 'green', 'blue'] as const).map((colour) => {
    const scale = 255 * deviation[colour];
    const shift = mean[colour] / deviation[colour];
    return Float32Array.from({ length: 256 }, (_, value) => value / scale - shift);
  });
  return Float32Array.from(channels.flatMap((values) => [...values]));
}

/**
 * Decodes an image as the model sees it.
 *
 * @param name for the message
 * @returns imageSize · imageSize · 3 numbers for each of its views, normalised
 * @throws WeftError `corrupt_data` for bytes that are no image
 */
export async function imagePixels(
  encoded: Uint8Array,
  name: string,
  imageSize: number,
  preprocessing: ImagePreprocessing,
): Promise<Float32Array> {
  const views = await decodeViews(encoded, imageSize, preprocessing).catch((thrown: unknown) => {
    const reason = WeftError.from(thrown).message.replace(/\s+/g, ' ').trim();
    throw new WeftError('corrupt_data', `the image ${name} cannot be decoded: ${reason}`, { cause: thrown });
  });
  const values = channelValues(preprocessing);
  const normalised = new Float32Array(views.length * imageSize * imageSize * CHANNELS);
  for (const [i, pixels] of views.entries()) writePixels(normalised, i * pixels.length, pixels, values);
  return normalised;
}

/** Writes the pixels of an image into an array of what the model reads. `values` are those of `channelValues`. */
export function writePixels(target: Float32Array, start: number, pixels: Uint8Array, values: Float32Array): void {
  for (let i = 0; i < pixels.length; i += CHANNELS) {
    target[start + i] = values[pixels[i]!]!;
    target[start + i + 1] = values[256 + pixels[i + 1]!]!;
    target[start + i + 2] = values[512 + pixels[i + 2]!]!;
  }
}

/**
 * The `corrupt_data` error for an image that cannot be decoded. A WeftError passes through unchanged.
 *
 * @param member empty for an image that is a shard itself
 */
export function undecodableImage(member: string, shardPath: string, cause: unknown): WeftError {
  if (WeftError.is(cause)) return cause;
  const reason = WeftError.from(cause).message.replace(/\s+/g, ' ').trim();
  const image = member === '' ? shardPath : `${member} in ${shardPath}`;
  return new WeftError('corrupt_data', `the image ${image} cannot be decoded: ${reason}`, {
    hint: 'replace the shard with an intact copy, or rebuild it without this sample',
    cause,
  });
}
