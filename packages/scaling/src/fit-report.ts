import { WeftError } from '@weft/common';
import { type BackTest, leaveLargestOut, leaveOneOut } from './back-test.js';
import { FEWEST_SCALES, type FitOptions, fitLaw, type LawFit } from './fit-law.js';
import type { LawForm } from './law.js';
import { LOSS, type Metric } from './metric.js';
import { type Optimum, optimaOfGrid } from './optimum.js';
import { byScale, checkPositive, type GridPoint, groupBy, type ScalePoint, scaleName } from './points.js';
import { DEFAULT_LEVEL } from './predict.js';

/** A fit with all that is needed to judge it. JSON-serialisable: the content of a fit file. */
export interface FitReport extends LawFit {
  /** What the law was fitted to: the points given, or the optima of the grid. */
  readonly points: readonly ScalePoint[];
  /** The best rate of every scale, where the points were a grid; otherwise null. */
  readonly optima: readonly Optimum[] | null;
  /** The runs of the grid; otherwise null. */
  readonly grid: readonly GridPoint[] | null;
  /** What they are compared by; otherwise null. */
  readonly metric: Metric | null;
  readonly leaveOneOut: readonly BackTest[];
  readonly leaveLargestOut: BackTest | null;
  /** Reasons for caution, whole sentences. */
  readonly warnings: readonly string[];
}

/** How the optima of a grid count: all the same, or each by 1/variance of its own parabola. */
export type Weighting = 'equal' | 'uncertainty';

/**
 * A law through points, with its back-tests. Only the ratios of weights matter: they are scaled to a mean of 1, so that a
 * prediction is about an observation of average weight. Errors as `fitLaw`.
 */
export function reportOnPoints(points: readonly ScalePoint[], options: FitOptions): FitReport {
  checkPositive(points, options.form);
  return report(ofMeanWeight(points), options, { optima: null, grid: null, metric: null });
}

/**
 * A law through the optima of a grid.
 *
 * @throws WeftError as `optimaOfGrid` and `fitLaw`, and `failed_precondition` for an optimum without a variance that
 * its weight could be made from.
 */
export function reportOnGrid(
  grid: readonly GridPoint[],
  { metric = LOSS, weighting = 'equal', ...options }: FitOptions & { metric?: Metric; weighting?: Weighting },
): FitReport {
  const { form, level = DEFAULT_LEVEL } = options;
  const optima = optimaOfGrid(grid, form, { level, metric });
  const points = optima.map((optimum) => ({
    ...optimum.at,
    value: optimum.value,
    ...(weighting === 'uncertainty' ? { weight: weightOf(optimum, form) } : {}),
  }));
  return report(ofMeanWeight(points), options, { optima, grid, metric });
}

/** Whether the points are a grid: scores, and several rates at some scale. */
export function isGrid(
  points: readonly (ScalePoint | GridPoint)[],
  { form }: Pick<FitOptions, 'form'>,
): points is readonly GridPoint[] {
  if (!points.some((point) => 'score' in point)) return false;
  return [...byScale(points, form).values()].some((scale) => groupBy(scale, ({ value }) => value).size > 1);
}

function weightOf({ standardError, at }: Optimum, form: LawForm): number {
  if (standardError !== null && standardError > 0) return 1 / standardError ** 2;
  throw new WeftError(
    'failed_precondition',
    `${scaleName(at, form)}: three runs say nothing of their own uncertainty`,
    {
      cure: 'add rates or seeds, or let all scales count alike',
    },
  );
}

function ofMeanWeight(points: readonly ScalePoint[]): readonly ScalePoint[] {
  if (points.every(({ weight }) => weight === undefined)) return points;
  const mean = points.reduce((sum, { weight = 1 }) => sum + weight / points.length, 0);
  return points.map((point) => ({ ...point, weight: (point.weight ?? 1) / mean }));
}

function report(
  points: readonly ScalePoint[],
  options: FitOptions,
  from: Pick<FitReport, 'optima' | 'grid' | 'metric'>,
): FitReport {
  const { form, level = DEFAULT_LEVEL } = options;
  const fit = fitLaw(points, options);
  const tests = {
    leaveOneOut: leaveOneOut(points, form, level),
    leaveLargestOut: leaveLargestOut(points, form, level),
  };
  return { ...fit, points, ...from, ...tests, warnings: warnings(fit, points, tests, from.optima) };
}

/** A law whose points span less than this factor says little about other sizes. */
const NARROW_SPAN = 10;
const POOR_R_SQUARED = 0.9;
/** Scatter, as a variance of logarithms, that is nothing but the rounding of numbers. */
const NO_SCATTER = 1e-20;
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
  const { degreesOfFreedom = 0, residualVariance = 0, rSquared = null } = law.statistics ?? {};
  const repeated = points.length - new Set(points.map((point) => `${scaleName(point, law)} ${point.value}`)).size;
  if (repeated > 0)
    said.push(`${repeated} of ${points.length} points repeat another one, which makes the intervals too narrow`);
  if (residualVariance < NO_SCATTER)
    said.push('the points lie on the law to the last digit: its intervals say nothing about how sure it is');
  else if (degreesOfFreedom === 1)
    said.push(`${points.length} points leave 1 degree of freedom: the intervals are very wide`);
  if (scales === FEWEST_SCALES)
    said.push(`${scales} scales are the fewest a law can have: a fourth would show whether they lie on a line`);
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
        `the optimum ${value.toPrecision(3)} is uncertain by more than a factor of ${NARROW_SPAN}: its runs hardly differ`,
      );
  return said;
}
