import { decimal, large } from '@weft/common';
import {
  type FitReport,
  formula,
  LOSS,
  levelText,
  type Metric,
  type Optimum,
  type Prediction,
  predict,
} from '@weft/scaling';
import { type Line, type Span, span } from '../spans.js';
import { type Column, facts, table } from '../table.js';
import { estimatePairs, intervalText, placeText, rate, valueText } from './describe.js';

/** A fit for people: law, coefficients, scales with their back-test, predictions, warnings. */
export function renderFit(report: FitReport, predictions: readonly Prediction[]): Line[] {
  const { law, warnings } = report;
  const { points = 0, degreesOfFreedom = 0, residualVariance = 0, rSquared = null } = law.statistics ?? {};
  return [
    [span(formula(law), 'bold'), span(`  ${law.name}`, 'dim')],
    ...facts([
      ...estimatePairs(report),
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

/** One row for each scale: what was best, how sure, and what the others would have said. */
function scaleTable({ law, points, optima, metric, leaveOneOut, leaveLargestOut, level }: FitReport): Line[] {
  const isGrid = optima !== null;
  const rows = points.map((point, i): (string | Span)[] => {
    const optimum = optima?.[i];
    const test = leaveOneOut.find(({ at }) => placeText(at, law) === placeText(point, law));
    return [
      placeText(point, law),
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
    return [span(`${placeText(at, law)}: `), span(valueText(prediction), 'bold'), span(sure)];
  });
}

/** 1.08 → "+8.0 %" */
const percentOff = (ratio: number) => `${ratio >= 1 ? '+' : '−'}${Math.abs(100 * (ratio - 1)).toFixed(1)} %`;
