import { WeftError } from '@weft/common';
import { designRow, type Interval, type LawForm, type LawInputs, type PowerLaw, SYMBOLS } from '../laws/power-law.js';
import { DEFAULT_LEVEL } from '../laws/predict.js';
import { type LinearFit, leastSquares, quadraticForm } from '../statistics/least-squares.js';
import { studentT } from '../statistics/student-t.js';
import { byScale, checkPositive, pickVariables, type ScalePoint } from './points.js';

/** A law needs at least this many scales. */
export const FEWEST_SCALES = 3;

/** A coefficient of a law with its own uncertainty. */
export interface Estimate {
  /** `intercept`, or `exponent of N`. */
  readonly name: string;
  readonly value: number;
  readonly standardError: number;
  readonly interval: Interval;
}

/** A fitted law with its coefficients. */
export interface LawFit {
  readonly law: PowerLaw;
  readonly level: number;
  /** The intercept, then the exponents. */
  readonly estimates: readonly Estimate[];
}

/** What `fitLaw` fits, and how the law is described. */
export interface FitOptions {
  readonly name: string;
  readonly form: LawForm;
  readonly source: string;
  /** Of the coefficients' intervals; default 0.95. */
  readonly level?: number;
}

/**
 * Fits a power law by weighted least squares of the logarithms.
 *
 * @throws WeftError `invalid_argument` for numbers that are not above 0, `failed_precondition` for fewer than three
 * scales, or points that do not determine the law.
 */
export function fitLaw(
  points: readonly ScalePoint[],
  { name, form, source, level = DEFAULT_LEVEL }: FitOptions,
): LawFit {
  checkPositive(points, form);
  refuseTooFewScales(points, form);
  const fit = fitLogarithms(points, form);
  const { coefficients, inverse, degreesOfFreedom, residualVariance, rSquared } = fit;
  if (residualVariance === null)
    throw new WeftError(
      'failed_precondition',
      `${points.length} points leave no degree of freedom for a law of ${coefficients.length} coefficients`,
      { hint: `add a point: at least ${coefficients.length + 1} are needed` },
    );
  const law: PowerLaw = {
    name,
    ...form,
    intercept: coefficients[0] ?? 0,
    exponents: coefficients.slice(1),
    ranges: form.variables.map((variable) => rangeOf(points.map((point) => point[variable] ?? 0))),
    statistics: { points: points.length, degreesOfFreedom, residualVariance, inverse, rSquared },
    source,
  };
  return { law, level, estimates: estimates(fit, residualVariance, form, level) };
}

/** The regression alone, also with fewer points than a law needs: back-tests leave scales out. */
function fitLogarithms(points: readonly ScalePoint[], form: LawForm): LinearFit {
  return leastSquares(
    points.map((point) => designRow(form, point, 'the law')),
    points.map(({ value }) => Math.log(value)),
    points.map(({ weight }) => weight ?? 1),
  );
}

function refuseTooFewScales(points: readonly ScalePoint[], form: LawForm): void {
  const scales = byScale(points, form).size;
  if (scales >= FEWEST_SCALES) return;
  const found = scales === 1 ? 'all points are of one scale' : `the points are of ${scales} scales`;
  throw new WeftError(
    'failed_precondition',
    `${found}, but a law needs at least ${FEWEST_SCALES} different ${form.variables.map((each) => SYMBOLS[each]).join(', ')}`,
    { hint: 'measure models of other sizes; four or more, a factor of three apart, make a law worth trusting' },
  );
}

function estimates(fit: LinearFit, residualVariance: number, form: LawForm, level: number): Estimate[] {
  const halfWidth = studentT(level, fit.degreesOfFreedom);
  return fit.coefficients.map((value, k) => {
    const standardError = Math.sqrt(residualVariance * (fit.inverse[k]?.[k] ?? 0));
    const variable = form.variables[k - 1];
    return {
      name: variable === undefined ? 'intercept' : `exponent of ${SYMBOLS[variable]}`,
      value,
      standardError,
      interval: { low: value - halfWidth * standardError, high: value + halfWidth * standardError },
    };
  });
}

const rangeOf = (values: readonly number[]): Interval => ({ low: Math.min(...values), high: Math.max(...values) });

/** The prediction of one scale by a law fitted without it. */
export interface BackTest {
  readonly at: LawInputs;
  /** The geometric mean of the scale's own points. */
  readonly observed: number;
  readonly predicted: number;
  /** predicted / observed: 1.1 is ten per cent too high. */
  readonly ratio: number;
  /** For one new observation; null when the other points leave no degree of freedom. */
  readonly interval: Interval | null;
  /** Whether every point of the scale lies in the interval; null without one. */
  readonly isInside: boolean | null;
}

/** Predicts each scale from all the others; omits scales that the others cannot determine. */
export function leaveOneOut(points: readonly ScalePoint[], form: LawForm, level = DEFAULT_LEVEL): BackTest[] {
  return [...byScale(points, form).values()].flatMap((scale) => backTest(points, scale, form, level) ?? []);
}

/** Predicts the largest scale from the smaller ones, a test of extrapolation. Null when they cannot determine it. */
export function leaveLargestOut(points: readonly ScalePoint[], form: LawForm, level = DEFAULT_LEVEL): BackTest | null {
  const largest = [...byScale(points, form).values()].at(-1);
  return largest === undefined ? null : backTest(points, largest, form, level);
}

function backTest(
  points: readonly ScalePoint[],
  leftOut: readonly ScalePoint[],
  form: LawForm,
  level: number,
): BackTest | null {
  const [first] = leftOut;
  const others = points.filter((point) => !leftOut.includes(point));
  const fit = tryFit(others, form);
  if (first === undefined || fit === null) return null;
  const row = designRow(form, first, 'the law');
  const logPredicted = row.reduce((sum, x, k) => sum + x * (fit.coefficients[k] ?? 0), 0);
  const reach = halfWidth(fit, row, level);
  const logs = leftOut.map(({ value }) => Math.log(value));
  const logObserved = logs.reduce((sum, log) => sum + log, 0) / logs.length;
  return {
    at: pickVariables(first, form),
    observed: Math.exp(logObserved),
    predicted: Math.exp(logPredicted),
    ratio: Math.exp(logPredicted - logObserved),
    interval: reach === null ? null : { low: Math.exp(logPredicted - reach), high: Math.exp(logPredicted + reach) },
    isInside: reach === null ? null : logs.every((log) => Math.abs(log - logPredicted) <= reach),
  };
}

function tryFit(points: readonly ScalePoint[], form: LawForm): LinearFit | null {
  try {
    return fitLogarithms(points, form);
  } catch {
    return null;
  }
}

function halfWidth(fit: LinearFit, row: readonly number[], level: number): number | null {
  if (fit.residualVariance === null) return null;
  const variance = fit.residualVariance * (1 + quadraticForm(row, fit.inverse));
  return studentT(level, fit.degreesOfFreedom) * Math.sqrt(variance);
}
