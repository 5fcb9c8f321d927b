import { WeftError } from '@weft/common';
import type { At, Interval, LawForm } from './law.js';
import { leastSquares, quadraticForm } from './least-squares.js';
import { byScale, checkPositive, type GridPoint, groupBy, placeOf, scaleName } from './points.js';
import { DEFAULT_LEVEL } from './predict.js';
import { studentT } from './student-t.js';

/** The best rate of one scale. JSON-serialisable. */
export interface Optimum {
  readonly at: At;
  /** Where the parabola has its lowest point. */
  readonly value: number;
  /** Of ln value, from the runs' scatter around the parabola (delta method); null when three runs fix it without scatter. */
  readonly standardError: number | null;
  readonly interval: Interval | null;
  /** The parabola's lowest value. */
  readonly loss: number;
  /** The second derivative of the loss by ln value: how much a wrong rate costs. */
  readonly curvature: number;
  /** The best rate that was really tried, and what it came to. */
  readonly bestTried: { readonly value: number; readonly loss: number };
  /** How many runs took part. */
  readonly runs: number;
}

/** Rates on each side of the lowest one that the parabola is fitted to: farther out a loss is no parabola any more. */
const REACH = 2;

/**
 * The best rate of every scale of a grid, in rising order of scale.
 *
 * @throws WeftError `failed_precondition` naming every scale whose lowest loss lies on the edge of its grid, or whose
 * losses do not bend.
 */
export function optimaOfGrid(points: readonly GridPoint[], form: LawForm, level = DEFAULT_LEVEL): Optimum[] {
  checkPositive(points, form);
  const results = [...byScale(points, form).values()].map((scale) => {
    try {
      return optimumOfScale(scale, form, level);
    } catch (thrown) {
      return WeftError.from(thrown);
    }
  });
  const refusals = results.filter((result): result is WeftError => result instanceof WeftError);
  const [first] = refusals;
  if (first === undefined) return results.filter((result): result is Optimum => !(result instanceof WeftError));
  if (refusals.length === 1) throw first;
  const list = refusals.map(({ sentence }) => `\n  - ${sentence}`).join('');
  throw new WeftError('failed_precondition', `${refusals.length} scales have no optimum:${list}`);
}

/**
 * The lowest point of a parabola in ln η, fitted to the runs of one scale around the lowest loss.
 * Runs of one rate and several seeds count as they are.
 */
export function optimumOfScale(points: readonly GridPoint[], form: LawForm, level = DEFAULT_LEVEL): Optimum {
  const [first] = points;
  if (first === undefined) throw new WeftError('invalid_argument', 'a grid needs at least one run');
  const where = scaleName(first, form);
  const rates = meanLosses(points);
  const lowest = lowestOf(rates, where);
  refuseEdge(rates, lowest, where);

  const near = rates.slice(Math.max(0, lowest - REACH), lowest + REACH + 1).map(({ value }) => value);
  const runs = points.flatMap(({ value, loss }) => (loss !== null && near.includes(value) ? [{ value, loss }] : []));
  const centre = Math.log(rates[lowest]?.value ?? 1);
  const fit = leastSquares(
    runs.map(({ value }) => [1, Math.log(value) - centre, (Math.log(value) - centre) ** 2]),
    runs.map(({ loss }) => loss),
  );
  const [level0 = 0, slope = 0, bend = 0] = fit.coefficients;
  const offset = -slope / (2 * bend);
  const value = Math.exp(centre + offset);
  if (!(bend > 0) || value < (rates[0]?.value ?? 0) || value > (rates.at(-1)?.value ?? 0))
    throw new WeftError('failed_precondition', `${where}: the losses have no lowest point within the grid`, {
      cure: 'train longer or with more seeds, so that the rates differ by more than their noise',
    });

  const gradient = [0, -1 / (2 * bend), slope / (2 * bend ** 2)];
  const variance = fit.residualVariance === null ? null : fit.residualVariance * quadraticForm(gradient, fit.inverse);
  const standardError = variance === null ? null : Math.sqrt(variance);
  const reach = standardError === null ? null : studentT(level, fit.degreesOfFreedom) * standardError;
  return {
    at: placeOf(first, form),
    value,
    standardError,
    interval: reach === null ? null : { low: value * Math.exp(-reach), high: value * Math.exp(reach) },
    loss: level0 + slope * offset + bend * offset ** 2,
    curvature: 2 * bend,
    bestTried: { value: rates[lowest]?.value ?? 0, loss: rates[lowest]?.loss ?? 0 },
    runs: runs.length,
  };
}

interface Rate {
  readonly value: number;
  /** The mean of its runs; infinite when one of them has none. */
  readonly loss: number;
}

function meanLosses(points: readonly GridPoint[]): Rate[] {
  const byRate = groupBy(points, ({ value }) => value);
  return [...byRate]
    .map(([value, runs]) => ({
      value,
      loss: runs.reduce((sum, { loss }) => sum + (loss ?? Number.POSITIVE_INFINITY), 0) / runs.length,
    }))
    .toSorted((left, right) => left.value - right.value);
}

function lowestOf(rates: readonly Rate[], where: string): number {
  const lowest = rates.reduce((best, { loss }, i) => (loss < (rates[best]?.loss ?? 0) ? i : best), 0);
  if (Number.isFinite(rates[lowest]?.loss)) return lowest;
  throw new WeftError('failed_precondition', `${where}: no rate has a loss`, { cure: 'try lower rates' });
}

function refuseEdge(rates: readonly Rate[], lowest: number, where: string): void {
  const best = rates[lowest]?.value;
  if (rates.length < 3)
    throw new WeftError('failed_precondition', `${where}: ${rates.length} rates do not enclose an optimum`, {
      cure: 'try at least three, better five',
    });
  if (lowest > 0 && lowest < rates.length - 1) return;
  const side = lowest === 0 ? 'lowest' : 'highest';
  throw new WeftError(
    'failed_precondition',
    `${where}: the lowest loss lies on the edge of the grid, at its ${side} rate ${best}, so that the optimum may lie beyond`,
    { cure: `add rates ${lowest === 0 ? 'below' : 'above'} ${best}` },
  );
}
