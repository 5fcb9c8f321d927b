import { decimal, large } from '@weft/common';
import type { LearningRateSource } from '@weft/config';
import {
  type FitReport,
  formula,
  type Interval,
  LOSS,
  levelText,
  type Metric,
  type Optimum,
  type PowerLaw,
  type Prediction,
  predict,
  SYMBOLS,
} from '@weft/scaling';
import { type Column, type Line, type Span, span, summaryRows, table } from '../styled-lines.js';

/** A fit for people: law, coefficients, scales with their back-test, predictions, warnings. */
export function renderFit(report: FitReport, predictions: readonly Prediction[]): Line[] {
  const { law, warnings } = report;
  const { points = 0, degreesOfFreedom = 0, residualVariance = 0, rSquared = null } = law.statistics ?? {};
  return [
    [span(formula(law), 'bold'), span(`  ${law.name}`, 'dim')],
    ...summaryRows([
      ...estimateRows(report),
      ['R²', rSquared === null ? '-' : rSquared.toFixed(4)],
      [
        'scatter',
        `${(100 * Math.expm1(Math.sqrt(residualVariance))).toFixed(1)} % around the law, one standard deviation`,
      ],
      ['points', `${points}, ${degreesOfFreedom} ${degreesOfFreedom === 1 ? 'degree' : 'degrees'} of freedom`],
    ]),
    [],
    ...scaleTable(report),
    ...predictionLines(predictions, report),
    ...warnings.map((warning): Line => [span(`warning: ${warning}`, 'yellow')]),
  ];
}

/** The best rates of a sweep that has too few scales for a law. */
export function renderOptima(optima: readonly Optimum[], { name }: Metric): Line[] {
  return optima.map(({ at, value, interval, score }) => {
    const sure = interval === null ? '' : ` (${intervalText(interval)})`;
    return [
      span(`best at N ${large(at.params ?? 0)}: `),
      span(rate(value), 'bold'),
      span(`${sure}, ${name} ${decimal(score)}`),
    ];
  });
}

const number = (title: string): Column => ({ title, align: 'right' });

/** One row per scale: its best rate, the interval, and what the other scales predict for it. */
function scaleTable({ law, points, optima, metric, leaveOneOut, leaveLargestOut, level }: FitReport): Line[] {
  const isGrid = optima !== null;
  const rows = points.map((point, i): (string | Span)[] => {
    const optimum = optima?.[i];
    const test = leaveOneOut.find(({ at }) => scaleText(at, law) === scaleText(point, law));
    return [
      scaleText(point, law),
      rate(point.value),
      ...(isGrid
        ? [
            optimum?.interval ? intervalText(optimum.interval) : '-',
            decimal(optimum?.score),
            rate(optimum?.bestTried.value ?? 0),
          ]
        : []),
      rate(predict(law, point).value),
      test === undefined ? '-' : percentOff(test.ratio),
    ];
  });
  const titles = [
    { title: 'scale' },
    number('best'),
    ...(isGrid ? [number(`${levelText(level)} interval`), number((metric ?? LOSS).name), number('best tried')] : []),
    number('law'),
    number('left out'),
  ];
  const largest =
    leaveLargestOut === null
      ? []
      : [
          [
            span(
              `The smaller scales alone predict ${rate(leaveLargestOut.predicted)} for the largest, ${percentOff(leaveLargestOut.ratio)}.`,
            ),
          ],
        ];
  return [...table(titles, rows), ...largest];
}

function predictionLines(predictions: readonly Prediction[], { law }: FitReport): Line[] {
  return predictions.map((prediction) => {
    const { at, interval, level } = prediction;
    const sure = interval === null ? '' : `, ${levelText(level)} interval ${intervalText(interval)}`;
    return [span(`${scaleText(at, law)}: `), span(valueText(prediction), 'bold'), span(sure)];
  });
}

/** 1.08 → "+8.0 %" */
const percentOff = (ratio: number) => `${ratio >= 1 ? '+' : '−'}${Math.abs(100 * (ratio - 1)).toFixed(1)} %`;

/** 2.211e-5: a rate as people compare them. */
export const rate = (value: number): string => value.toExponential(3);

/** An interval as "low to high". */
export const intervalText = ({ low, high }: Interval): string => `${rate(low)} to ${rate(high)}`;

/** What is predicted, in its own unit. */
export function valueText({ target, value }: Pick<Prediction, 'target' | 'value'>): string {
  return target === 'learningRate' ? rate(value) : `${large(value)} tokens per step`;
}

/** How far a prediction lies outside the law's data; undefined where the data are not published. */
export function outsideText({ outside }: Prediction, law: PowerLaw): string | undefined {
  if (law.ranges.every((range) => range === null)) return undefined;
  if (outside.length === 0) return 'within the sizes it was fitted to';
  return outside
    .map(({ variable, side, factor }) =>
      side === 'above'
        ? `${SYMBOLS[variable]} is ${factorText(factor)} times the largest it was fitted to`
        : `${SYMBOLS[variable]} is ${factorText(factor)} times smaller than the smallest it was fitted to`,
    )
    .join('; ');
}

/** Where an automatic rate came from, in a sentence without a full stop. */
export function sourceSentence({ value, fit, formula, params, interval, extrapolation }: LearningRateSource): string {
  const where = extrapolation > 1 ? `, ${factorText(extrapolation)} times outside its data` : '';
  const sure = interval === null ? '' : `, ${levelText(interval.level)} interval ${intervalText(interval)}`;
  return `learning rate ${rate(value)} by ${fit} (${formula}) at N = ${large(params)}${sure}${where}`;
}

/** A scale of a fit, such as "N 1.20 B". */
export function scaleText(at: Prediction['at'], { variables }: Pick<PowerLaw, 'variables'>): string {
  return variables.map((variable) => `${SYMBOLS[variable]} ${large(at[variable] ?? 0)}`).join(', ');
}

/** The coefficients with their intervals, as pairs for a table of facts. */
function estimateRows({ estimates, level }: FitReport): [string, string][] {
  return estimates.map(({ name, value, interval }) => [
    name,
    `${signed(value)}  (${levelText(level)} interval ${signed(interval.low)} to ${signed(interval.high)})`,
  ]);
}

const signed = (value: number) => value.toPrecision(5);
const factorText = (factor: number) => Number(factor.toPrecision(2)).toString();
