import { WeftError } from '@weft/common';
import type { LawForm } from '../laws/power-law.js';
import { DEFAULT_LEVEL } from '../laws/predict.js';
import {
  type BackTest,
  FEWEST_SCALES,
  type FitOptions,
  fitLaw,
  type LawFit,
  leaveLargestOut,
  leaveOneOut,
} from './fit-law.js';
import { type Optimum, optimaOfGrid } from './optimum.js';
import {
  byScale,
  checkPositive,
  type GridPoint,
  groupBy,
  LOSS,
  type Metric,
  type ScalePoint,
  scaleName,
} from './points.js';

/** A fit with everything needed to judge it. JSON-serialisable: the content of a fit file. */
export interface FitReport extends LawFit {
  /** The data of the fit: the points given, or the optima of the grid. */
  readonly points: readonly ScalePoint[];
  /** The best rate of every scale of a grid; null without a grid. */
  readonly optima: readonly Optimum[] | null;
  /** The runs of the grid; null without one. */
  readonly grid: readonly GridPoint[] | null;
  /** What the runs of the grid are compared by; null without a grid. */
  readonly metric: Metric | null;
  readonly leaveOneOut: readonly BackTest[];
  readonly leaveLargestOut: BackTest | null;
  /** Reasons for caution, whole sentences. */
  readonly warnings: readonly string[];
}

/** The weights of the optima of a grid: all equal, or 1/variance from each scale's own parabola. */
export type Weighting = 'equal' | 'uncertainty';

/**
 * Fits a law to points and back-tests it. Weights are scaled to a mean of 1, so that a prediction is about an observation
 * of average weight.
 *
 * @throws WeftError like `fitLaw`
 */
export function reportOnPoints(points: readonly ScalePoint[], options: FitOptions): FitReport {
  checkPositive(points, options.form);
  return report(withMeanWeightOne(points), options, { optima: null, grid: null, metric: null });
}

/**
 * Fits a law to the optima of a grid and back-tests it.
 *
 * @throws WeftError like `optimaOfGrid` and `fitLaw`; `failed_precondition` when `weighting` needs the variance of an
 * optimum that has none
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
    ...(weighting === 'uncertainty' ? { weight: inverseVariance(optimum, form) } : {}),
  }));
  return report(withMeanWeightOne(points), options, { optima, grid, metric });
}

/** Whether the points are a grid: scores, and several rates at some scale. */
export function isGrid(
  points: readonly (ScalePoint | GridPoint)[],
  { form }: Pick<FitOptions, 'form'>,
): points is readonly GridPoint[] {
  if (!points.some((point) => 'score' in point)) return false;
  return [...byScale(points, form).values()].some((scale) => groupBy(scale, ({ value }) => value).size > 1);
}

function inverseVariance({ standardError, at }: Optimum, form: LawForm): number {
  if (standardError !== null && standardError > 0) return 1 / standardError ** 2;
  throw new WeftError(
    'failed_precondition',
    `${scaleName(at, form)}: three runs say nothing of their own uncertainty`,
    {
      hint: 'add rates or seeds, or let all scales count alike',
    },
  );
}

function withMeanWeightOne(points: readonly ScalePoint[]): readonly ScalePoint[] {
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

/** Warn about extrapolation when the points span less than this factor. */
const NARROW_SPAN = 10;
const POOR_R_SQUARED = 0.9;
/** A variance of logarithms below this is rounding, not scatter. */
const NO_SCATTER = 1e-20;
/** Warn about a back-test that is off by more than this factor. */
const FAR_OFF = 1.25;

function warnings(
  { law }: LawFit,
  points: readonly ScalePoint[],
  tests: Pick<FitReport, 'leaveOneOut' | 'leaveLargestOut'>,
  optima: readonly Optimum[] | null,
): string[] {
  const result: string[] = [];
  const scales = byScale(points, law).size;
  const [range] = law.ranges;
  const { degreesOfFreedom = 0, residualVariance = 0, rSquared = null } = law.statistics ?? {};
  const repeated = points.length - new Set(points.map((point) => `${scaleName(point, law)} ${point.value}`)).size;
  if (repeated > 0)
    result.push(`${repeated} of ${points.length} points repeat another one, which makes the intervals too narrow`);
  if (residualVariance < NO_SCATTER)
    result.push('the points lie on the law to the last digit: its intervals say nothing about how sure it is');
  else if (degreesOfFreedom === 1)
    result.push(`${points.length} points leave 1 degree of freedom: the intervals are very wide`);
  if (scales === FEWEST_SCALES)
    result.push(`${scales} scales are the fewest a law can have: a fourth would show whether they lie on a line`);
  if (range && range.high / range.low < NARROW_SPAN)
    result.push(`the scales span a factor of ${(range.high / range.low).toFixed(1)} only: extrapolate with care`);
  if (rSquared !== null && rSquared < POOR_R_SQUARED)
    result.push(`the law explains ${(100 * rSquared).toFixed(0)} % of the variation: the scales do not lie on a line`);
  if (law.target === 'learningRate' && law.variables[0] === 'params' && (law.exponents[0] ?? 0) >= 0)
    result.push('the best learning rate does not fall with size, against every published law');
  const largest = tests.leaveLargestOut;
  if (largest !== null && Math.max(largest.ratio, 1 / largest.ratio) > FAR_OFF)
    result.push(
      `the smaller scales predict the largest ${Math.max(largest.ratio, 1 / largest.ratio).toFixed(2)} times too ${largest.ratio > 1 ? 'high' : 'low'}`,
    );
  for (const { interval, value } of optima ?? [])
    if (interval !== null && interval.high / interval.low > NARROW_SPAN)
      result.push(
        `the optimum ${value.toPrecision(3)} is uncertain by more than a factor of ${NARROW_SPAN}: its runs hardly differ`,
      );
  return result;
}
