import type { HostArray } from '@weft/tensor';

/** Numbers as float32 in base64, for messages of one line. */
export function encodeArray(data: HostArray): string {
  const floats = Float32Array.from(data);
  return Buffer.from(floats.buffer).toString('base64');
}

export function decodeArray(text: string): Float32Array {
  const bytes = Buffer.from(text, 'base64');
  // A copy: the bytes of a Buffer need not begin where a Float32Array may.
  return new Float32Array(Uint8Array.from(bytes).buffer);
}

/** The greatest difference over the greatest magnitude, or over 1 where all are smaller; infinite where one is no number. */
export function differenceOf(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) return Number.POSITIVE_INFINITY;
  let [apart, largest] = [0, 1];
  for (let i = 0; i < expected.length; i++) {
    const [got, wanted] = [actual[i] ?? Number.NaN, expected[i] ?? Number.NaN];
    largest = Math.max(largest, Math.abs(wanted));
    const difference = Math.abs(got - wanted);
    apart = Math.max(apart, Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference);
  }
  return apart / largest;
}

/** ‖actual − expected‖ / ‖expected‖; infinite where a number is none. */
export function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) return Number.POSITIVE_INFINITY;
  let [apart, size] = [0, 0];
  for (let i = 0; i < expected.length; i++) {
    const [got, wanted] = [actual[i] ?? Number.NaN, expected[i] ?? Number.NaN];
    apart += (got - wanted) ** 2;
    size += wanted ** 2;
  }
  const error = size === 0 ? Math.sqrt(apart) : Math.sqrt(apart / size);
  return Number.isNaN(error) ? Number.POSITIVE_INFINITY : error;
}
