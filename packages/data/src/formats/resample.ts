import type { ImagePreprocessing } from '@weft/config';

/** A picture of 8 bits for each of red, green and blue, row by row. */
export interface Picture {
  readonly data: Uint8Array;
  readonly width: number;
  readonly height: number;
}

const CHANNELS = 3;
/** PIL weighs in whole numbers with so many bits behind the point. */
const FRACTION_BITS = 22;

/** Width and height, pixels. */
export type Size = Pick<Picture, 'width' | 'height'>;

/**
 * Makes a picture of another size as Python's PIL does with its filter of that name, byte for byte: one direction after the
 * other, rounded to bytes in between. `crop` is CLIP's preprocessing: the picture becomes as small as covers the size, and of
 * the longer side the middle is kept.
 */
export function resample(
  { data, width, height }: Picture,
  size: Size,
  { fit, interpolation }: Pick<ImagePreprocessing, 'fit' | 'interpolation'>,
): Uint8Array {
  const filter = FILTERS[interpolation];
  const isWide = width * size.height > height * size.width;
  const scaledWidth = fit === 'crop' && isWide ? Math.trunc((size.height * width) / height) : size.width;
  const scaledHeight = fit === 'crop' && !isWide ? Math.trunc((size.width * height) / width) : size.height;
  const columns = windowsOf(width, scaledWidth, size.width, filter);
  const rows = windowsOf(height, scaledHeight, size.height, filter);
  // Pillow 13 begins with the columns where they lose more than twice as many pixels as the rows.
  const isVerticalFirst = scaledHeight < height && height - scaledHeight > 2 * (width - scaledWidth);
  return isVerticalFirst
    ? alongRows(alongColumns(data, width, rows), width, columns)
    : alongColumns(alongRows(data, width, columns), size.width, rows);
}

/** Every row becomes as long as there are windows. */
function alongRows(data: Uint8Array, width: number, columns: readonly Window[]): Uint8Array {
  const rows = data.length / (width * CHANNELS);
  const narrow = new Uint8Array(rows * columns.length * CHANNELS);
  for (let row = 0; row < rows; row++)
    columns.forEach(({ first, weights }, column) => {
      const from = (row * width + first) * CHANNELS;
      weigh(data, from, CHANNELS, weights, narrow, (row * columns.length + column) * CHANNELS);
    });
  return narrow;
}

/** Every column becomes as long as there are windows. */
function alongColumns(data: Uint8Array, width: number, rows: readonly Window[]): Uint8Array {
  const low = new Uint8Array(rows.length * width * CHANNELS);
  rows.forEach(({ first, weights }, row) => {
    for (let column = 0; column < width; column++) {
      const from = (first * width + column) * CHANNELS;
      weigh(data, from, width * CHANNELS, weights, low, (row * width + column) * CHANNELS);
    }
  });
  return low;
}

/** The pixels that make one of the result: the first, and the weight of each, whole numbers. */
interface Window {
  readonly first: number;
  readonly weights: Int32Array;
}

/** The windows of the middle `count` pixels of a side of `length` pixels that becomes `scaled` long. */
function windowsOf(length: number, scaled: number, count: number, { reach, weightAt }: Filter): readonly Window[] {
  const start = Math.floor((scaled - count) / 2);
  const scale = length / scaled;
  // Shrinking, the filter grows with the step, so that every pixel counts.
  const stretch = Math.max(scale, 1);
  const support = reach * stretch;
  return Array.from({ length: count }, (_, index) => {
    const centre = (start + index + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support + 0.5));
    const end = Math.min(length, Math.trunc(centre + support + 0.5));
    const raw = Array.from({ length: end - first }, (_, i) => weightAt((first + i - centre + 0.5) / stretch));
    const sum = raw.reduce((a, b) => a + b, 0);
    return { first, weights: Int32Array.from(raw, (weight) => Math.round((weight / sum) * 2 ** FRACTION_BITS)) };
  });
}

/** How much a pixel weighs by its distance from the point that is asked for; nothing beyond `reach`. */
interface Filter {
  readonly reach: number;
  readonly weightAt: (distance: number) => number;
}

/** Keys' cubic convolution with a = −0.5. */
function cubic(distance: number): number {
  const x = Math.abs(distance);
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
}

/** The sinc, windowed by the middle of a wider one. */
function lanczos(distance: number): number {
  return Math.abs(distance) < 3 ? sinc(distance) * sinc(distance / 3) : 0;
}

function sinc(x: number): number {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
}

const FILTERS: Readonly<Record<ImagePreprocessing['interpolation'], Filter>> = {
  bicubic: { reach: 2, weightAt: cubic },
  lanczos: { reach: 3, weightAt: lanczos },
};

/** The weighted sum of pixels `stride` bytes apart, for each channel, cut to a byte. */
function weigh(from: Uint8Array, at: number, stride: number, weights: Int32Array, into: Uint8Array, to: number): void {
  for (let channel = 0; channel < CHANNELS; channel++) {
    let sum = 1 << (FRACTION_BITS - 1);
    for (let i = 0; i < weights.length; i++) sum += from[at + i * stride + channel]! * weights[i]!;
    into[to + channel] = Math.min(255, Math.max(0, sum >> FRACTION_BITS));
  }
}
