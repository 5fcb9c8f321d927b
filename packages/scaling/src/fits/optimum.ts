import { WeftError } from '@weft/common';
import type { Interval, LawForm, LawInputs } from '../laws/power-law.js';
import { DEFAULT_LEVEL } from '../laws/predict.js';
import { leastSquares, quadraticForm } from '../statistics/least-squares.js';
import { studentT } from '../statistics/student-t.js';
import {
  byScale,
  checkPositive,
  describeBest,
  type GridPoint,
  groupBy,
  LOSS,
  type Metric,
  pickVariables,
  scaleName,
} from './points.js';

/** The best rate (or batch size) of one scale. JSON-serialisable. */
export interface Optimum {
  readonly at: LawInputs;
  /** The vertex of the parabola. */
  readonly value: number;
  /** Of ln value, from the runs' scatter around the parabola (delta method); null for three runs, which have no scatter. */
  readonly standardError: number | null;
  readonly interval: Interval | null;
  /** The metric at the vertex. */
  readonly score: number;
  /** The second derivative of the metric by ln value: the cost of a wrong rate. Negative when higher is better. */
  readonly curvature: number;
  /** The best rate that was tried, and its score. */
  readonly bestTried: { readonly value: number; readonly score: number };
  /** Number of runs the parabola was fitted to. */
  readonly runs: number;
}

/** Options of `optimumOfScale` and `optimaOfGrid`. */
export interface OptimumOptions {
  /** Of the intervals; default 0.95. */
  readonly level?: number;
  /** Default: the loss, lower is better. */
  readonly metric?: Metric;
}

/** Rates on each side of the best one that the parabola is fitted to: farther out a loss is not a parabola. */
export const NEIGHBOURS = 2;

/**
 * The best rate of every scale of a grid, in ascending order of scale.
 *
 * @throws WeftError `failed_precondition` naming every scale whose best score is at the edge of its grid, or whose scores
 * have no clear minimum
 */
export function optimaOfGrid(points: readonly GridPoint[], form: LawForm, options: OptimumOptions = {}): Optimum[] {
  checkPositive(points, form);
  const results = [...byScale(points, form).values()].map((scale) => {
    try {
      return optimumOfScale(scale, form, options);
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
 * The vertex of a parabola in ln η, fitted to the runs of one scale around the best rate: the minimum, or the maximum
 * when higher is better. Runs of one rate with several seeds are separate observations.
 *
 * @throws WeftError like `optimaOfGrid`
 */
export function optimumOfScale(
  points: readonly GridPoint[],
  form: LawForm,
  { level = DEFAULT_LEVEL, metric = LOSS }: OptimumOptions = {},
): Optimum {
  const [first] = points;
  if (first === undefined) throw new WeftError('invalid_argument', 'a grid needs at least one run');
  const where = scaleName(first, form);
  const sign = metric.better === 'lower' ? 1 : -1;
  const rates = averageByRate(points, sign);
  const best = bestIndex(rates, where, metric);
  refuseEdge(rates, best, where, metric, NOUNS[form.target]);

  const near = rates.slice(Math.max(0, best - NEIGHBOURS), best + NEIGHBOURS + 1).map(({ value }) => value);
  const runs = points.flatMap(({ value, score }) =>
    score !== null && near.includes(value) ? [{ value, cost: sign * score }] : [],
  );
  refuseTooFew(new Set(runs.map(({ value }) => value)).size, where, metric, NOUNS[form.target]);
  const centre = Math.log(rates[best]?.value ?? 1);
  const fit = leastSquares(
    runs.map(({ value }) => [1, Math.log(value) - centre, (Math.log(value) - centre) ** 2]),
    runs.map(({ cost }) => cost),
  );
  const [constant = 0, slope = 0, bend = 0] = fit.coefficients;
  const offset = -slope / (2 * bend);
  const value = Math.exp(centre + offset);
  const { low, high } = bracket(rates, best);
  if (!(bend > 0) || value < low || value > high)
    throw new WeftError(
      'failed_precondition',
      `${where}: the ${describeBest(metric)} has no clear place within the grid`,
      {
        hint: `train longer, with more seeds or more ${NOUNS[form.target]}s, so that they differ by more than their noise`,
      },
    );

  const gradient = [0, -1 / (2 * bend), slope / (2 * bend ** 2)];
  const variance = fit.residualVariance === null ? null : fit.residualVariance * quadraticForm(gradient, fit.inverse);
  const standardError = variance === null ? null : Math.sqrt(variance);
  const halfWidth = standardError === null ? null : studentT(level, fit.degreesOfFreedom) * standardError;
  return {
    at: pickVariables(first, form),
    value,
    standardError,
    interval: halfWidth === null ? null : { low: value * Math.exp(-halfWidth), high: value * Math.exp(halfWidth) },
    score: sign * (constant + slope * offset + bend * offset ** 2),
    curvature: sign * 2 * bend,
    bestTried: { value: rates[best]?.value ?? 0, score: sign * (rates[best]?.cost ?? 0) },
    runs: runs.length,
  };
}

const NOUNS = { learningRate: 'rate', batchSize: 'batch size' } as const;
type Noun = (typeof NOUNS)[keyof typeof NOUNS];

/** All runs of one rate. */
interface Rate {
  readonly value: number;
  /** Mean score, negated when higher is better; infinite when one of the runs has none. */
  readonly cost: number;
}

const hasCost = ({ cost }: Rate) => Number.isFinite(cost);

function averageByRate(points: readonly GridPoint[], sign: number): Rate[] {
  const byRate = groupBy(points, ({ value }) => value);
  return [...byRate]
    .map(([value, runs]) => ({
      value,
      cost: runs.reduce((sum, { score }) => sum + costOf(score, sign), 0) / runs.length,
    }))
    .toSorted((left, right) => left.value - right.value);
}

const costOf = (score: number | null, sign: number) => (score === null ? Number.POSITIVE_INFINITY : sign * score);

function bestIndex(rates: readonly Rate[], where: string, { name }: Metric): number {
  const best = rates.reduce((lowest, { cost }, i) => (cost < (rates[lowest]?.cost ?? 0) ? i : lowest), 0);
  if (rates.some(hasCost)) return best;
  throw new WeftError('failed_precondition', `${where}: nothing that was tried has a ${name}`, {
    hint: 'try lower rates',
  });
}

/** Limits of the optimum: the grid, and no rate beyond one of which a run diverged. */
function bracket(rates: readonly Rate[], best: number): Interval {
  const below = rates.slice(0, best).findLast((rate) => !hasCost(rate)) ?? rates[0];
  const above = rates.slice(best + 1).find((rate) => !hasCost(rate)) ?? rates.at(-1);
  return { low: below?.value ?? 0, high: above?.value ?? 0 };
}

function refuseEdge(rates: readonly Rate[], best: number, where: string, metric: Metric, noun: Noun): void {
  if (rates.length < FEWEST_RATES) refuseTooFew(rates.filter(hasCost).length, where, metric, noun);
  if (best > 0 && best < rates.length - 1) return;
  const { value } = rates[best] ?? { value: 0 };
  const side = best === 0 ? 'lowest' : 'highest';
  throw new WeftError(
    'failed_precondition',
    `${where}: the ${describeBest(metric)} lies on the edge of the grid, at its ${side} ${noun} ${value}, so that the optimum may lie beyond`,
    { hint: `add ${noun}s ${best === 0 ? 'below' : 'above'} ${value}` },
  );
}

const FEWEST_RATES = 3;

function refuseTooFew(count: number, where: string, { name }: Metric, noun: Noun): void {
  if (count >= FEWEST_RATES) return;
  const found = `${count} ${noun}${count === 1 ? ' with a' : 's with a'} ${name}`;
  throw new WeftError('failed_precondition', `${where}: ${found} cannot enclose an optimum`, {
    hint: `try at least ${FEWEST_RATES} around the best one, better five`,
  });
}
