import { WeftError } from '@weft/common';
import { designRow, type Interval, type LawForm, type PowerLaw, SYMBOLS } from './law.js';
import { type LinearFit, leastSquares } from './least-squares.js';
import { byScale, checkPositive, type ScalePoint } from './points.js';
import { DEFAULT_LEVEL } from './predict.js';
import { studentT } from './student-t.js';

export const FEWEST_SCALES = 3;

/** A coefficient of a law with its own uncertainty. */
export interface Estimate {
  /** `intercept`, or `exponent of N`. */
  readonly name: string;
  readonly value: number;
  readonly standardError: number;
  readonly interval: Interval;
}

export interface LawFit {
  readonly law: PowerLaw;
  readonly level: number;
  /** The intercept, then the exponents. */
  readonly estimates: readonly Estimate[];
}

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
      `${points.length} points leave nothing to judge a law of ${coefficients.length} coefficients by`,
      { cure: `add a point: at least ${coefficients.length + 1} are needed` },
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

/** The bare regression, also of too few points to be a law of its own: back-tests leave scales out. */
export function fitLogarithms(points: readonly ScalePoint[], form: LawForm): LinearFit {
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
    { cure: 'measure models of other sizes; four or more, a factor of three apart, make a law worth trusting' },
  );
}

function estimates(fit: LinearFit, residualVariance: number, form: LawForm, level: number): Estimate[] {
  const reach = studentT(level, fit.degreesOfFreedom);
  return fit.coefficients.map((value, k) => {
    const standardError = Math.sqrt(residualVariance * (fit.inverse[k]?.[k] ?? 0));
    const variable = form.variables[k - 1];
    return {
      name: variable === undefined ? 'intercept' : `exponent of ${SYMBOLS[variable]}`,
      value,
      standardError,
      interval: { low: value - reach * standardError, high: value + reach * standardError },
    };
  });
}

const rangeOf = (values: readonly number[]): Interval => ({ low: Math.min(...values), high: Math.max(...values) });
