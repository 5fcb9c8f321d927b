import { type Fingerprint, RESULTS, type Result } from './layer.js';

const FREQUENCIES = [0.7, 1.3] as const;

/** Takes the fingerprint of a tensor's elements, in double precision. */
export function fingerprint(values: ArrayLike<number>): Fingerprint {
  let square = 0;
  const projections: [number, number] = [0, 0];
  for (let i = 0; i < values.length; i++) {
    const value = values[i] ?? Number.NaN;
    square += value * value;
    projections[0] += value * Math.cos(FREQUENCIES[0] * i);
    projections[1] += value * Math.cos(FREQUENCIES[1] * i);
  }
  return { norm: Math.sqrt(square), projections: projections };
}

/**
 * The largest difference of two layers' results, relative to the length of each. A shadow of a difference as long as
 * the tensor itself would be about √½ of it.
 */
export function largestDifference(
  ours: Readonly<Record<Result, Fingerprint>>,
  theirs: Readonly<Record<Result, Fingerprint>>,
): { readonly result: Result; readonly difference: number } {
  const differences = RESULTS.map((result) => {
    const [a, b] = [ours[result], theirs[result]];
    const numbers = ({ norm, projections }: Fingerprint) => [norm, ...projections];
    const others = numbers(b);
    const difference = Math.max(...numbers(a).map((value, i) => Math.abs(value - (others[i] ?? Number.NaN))));
    return { result, difference: difference / a.norm };
  });
  // Nothing compares with NaN: it is the worst, and stays it.
  const isWorse = (a: number, b: number) => Number.isNaN(a) || a > b;
  return differences.reduce((worst, each) => (isWorse(each.difference, worst.difference) ? each : worst));
}
