import { type BackTest, leaveLargestOut, leaveOneOut } from './back-test.js';
import { FEWEST_SCALES, type FitOptions, fitLaw, type LawFit } from './fit-law.js';
import { type Optimum, optimaOfGrid } from './optimum.js';
import { byScale, type GridPoint, groupBy, type ScalePoint } from './points.js';
import { DEFAULT_LEVEL } from './predict.js';

/** A fit with all that is needed to judge it. JSON-serialisable: the content of a fit file. */
export interface FitReport extends LawFit {
  /** What the law was fitted to: the points given, or the optima of the grid. */
  readonly points: readonly ScalePoint[];
  /** The best rate of every scale, where the points were a grid; otherwise null. */
  readonly optima: readonly Optimum[] | null;
  /** The runs of the grid; otherwise null. */
  readonly grid: readonly GridPoint[] | null;
  readonly leaveOneOut: readonly BackTest[];
  readonly leaveLargestOut: BackTest | null;
  /** Reasons for caution, whole sentences. */
  readonly warnings: readonly string[];
}

/** How the optima of a grid count: all the same, or each by 1/variance of its own parabola. */
export type Weighting = 'equal' | 'uncertainty';

/** A law through points, with its back-tests. Errors as `fitLaw`. */
export function reportOnPoints(points: readonly ScalePoint[], options: FitOptions): FitReport {
  return report(points, options, null, null);
}

/** A law through the optima of a grid. Errors as `optimaOfGrid` and `fitLaw`. */
export function reportOnGrid(
  grid: readonly GridPoint[],
  options: FitOptions & { readonly weighting?: Weighting },
): FitReport {
  const optima = optimaOfGrid(grid, options.form, options.level);
  const byVariance = options.weighting === 'uncertainty' && optima.every(({ standardError }) => standardError);
  const points = optima.map(({ at, value, standardError }) => ({
    ...at,
    value,
    ...(byVariance ? { weight: 1 / (standardError ?? 1) ** 2 } : {}),
  }));
  return report(points, options, optima, grid);
}

/** Whether the points are a grid: losses, and several rates at some scale. */
export function isGrid(points: readonly (ScalePoint | GridPoint)[], { form }: Pick<FitOptions, 'form'>): boolean {
  if (!points.some((point) => 'loss' in point)) return false;
  return [...byScale(points, form).values()].some((scale) => groupBy(scale, ({ value }) => value).size > 1);
}

function report(
  points: readonly ScalePoint[],
  options: FitOptions,
  optima: readonly Optimum[] | null,
  grid: readonly GridPoint[] | null,
): FitReport {
  const { form, level = DEFAULT_LEVEL } = options;
  const fit = fitLaw(points, options);
  const tests = {
    leaveOneOut: leaveOneOut(points, form, level),
    leaveLargestOut: leaveLargestOut(points, form, level),
  };
  return { ...fit, points, optima, grid, ...tests, warnings: warnings(fit, points, tests, optima) };
}

/** A law whose points span less than this factor says little about other sizes. */
const NARROW_SPAN = 10;
const POOR_R_SQUARED = 0.9;
/** A back-test farther off than this factor is worth a sentence. */
const FAR_OFF = 1.25;

function warnings(
  { law }: LawFit,
  points: readonly ScalePoint[],
  tests: Pick<FitReport, 'leaveOneOut' | 'leaveLargestOut'>,
  optima: readonly Optimum[] | null,
): string[] {
  const said: string[] = [];
  const scales = byScale(points, law).size;
  const [range] = law.ranges;
  const { degreesOfFreedom = 0, rSquared = null } = law.statistics ?? {};
  if (scales === FEWEST_SCALES || degreesOfFreedom === 1)
    said.push(`${scales} scales leave ${degreesOfFreedom} degree of freedom: the intervals are very wide`);
  if (range && range.high / range.low < NARROW_SPAN)
    said.push(`the scales span a factor of ${(range.high / range.low).toFixed(1)} only: extrapolate with care`);
  if (rSquared !== null && rSquared < POOR_R_SQUARED)
    said.push(`the law explains ${(100 * rSquared).toFixed(0)} % of the variation: the scales do not lie on a line`);
  if (law.target === 'learningRate' && law.variables[0] === 'params' && (law.exponents[0] ?? 0) >= 0)
    said.push('the best learning rate does not fall with size, against every published law');
  const largest = tests.leaveLargestOut;
  if (largest !== null && Math.max(largest.ratio, 1 / largest.ratio) > FAR_OFF)
    said.push(
      `the smaller scales predict the largest ${Math.max(largest.ratio, 1 / largest.ratio).toFixed(2)} times too ${largest.ratio > 1 ? 'high' : 'low'}`,
    );
  for (const { interval, value } of optima ?? [])
    if (interval !== null && interval.high / interval.low > NARROW_SPAN)
      said.push(
        `the optimum ${value.toPrecision(3)} is uncertain by more than a factor of ${NARROW_SPAN}: its losses hardly bend`,
      );
  return said;
}
