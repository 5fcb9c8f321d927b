import { fitLogarithms } from './fit-law.js';
import { type At, designRow, type Interval, type LawForm } from './law.js';
import { type LinearFit, quadraticForm } from './least-squares.js';
import { byScale, placeOf, type ScalePoint } from './points.js';
import { DEFAULT_LEVEL } from './predict.js';
import { studentT } from './student-t.js';

/** What a law fitted without a scale would have said about it. */
export interface BackTest {
  readonly at: At;
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

/** Each scale predicted from all the others; scales that the others cannot determine are left out. */
export function leaveOneOut(points: readonly ScalePoint[], form: LawForm, level = DEFAULT_LEVEL): BackTest[] {
  return [...byScale(points, form).values()].flatMap((left) => without(points, left, form, level) ?? []);
}

/** The largest scale predicted from the smaller ones: what extrapolation is worth. Null when they cannot determine it. */
export function leaveLargestOut(points: readonly ScalePoint[], form: LawForm, level = DEFAULT_LEVEL): BackTest | null {
  const largest = [...byScale(points, form).values()].at(-1);
  return largest === undefined ? null : without(points, largest, form, level);
}

function without(
  points: readonly ScalePoint[],
  left: readonly ScalePoint[],
  form: LawForm,
  level: number,
): BackTest | null {
  const [first] = left;
  const others = points.filter((point) => !left.includes(point));
  const fit = tryFit(others, form);
  if (first === undefined || fit === null) return null;
  const row = designRow(form, first, 'the law');
  const logPredicted = row.reduce((sum, x, k) => sum + x * (fit.coefficients[k] ?? 0), 0);
  const reach = reachOf(fit, row, level);
  const logs = left.map(({ value }) => Math.log(value));
  const logObserved = logs.reduce((sum, log) => sum + log, 0) / logs.length;
  return {
    at: placeOf(first, form),
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

function reachOf(fit: LinearFit, row: readonly number[], level: number): number | null {
  if (fit.residualVariance === null) return null;
  const variance = fit.residualVariance * (1 + quadraticForm(row, fit.inverse));
  return studentT(level, fit.degreesOfFreedom) * Math.sqrt(variance);
}
