import { large } from '@weft/common';
import type { LearningRateSource } from '@weft/config';
import { type FitReport, type Interval, levelText, type PowerLaw, type Prediction, SYMBOLS } from '@weft/scaling';

/** 2.211e-5: a rate as people compare them. */
export const rate = (value: number): string => value.toExponential(3);

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
export function placeText(at: Prediction['at'], { variables }: Pick<PowerLaw, 'variables'>): string {
  return variables.map((variable) => `${SYMBOLS[variable]} ${large(at[variable] ?? 0)}`).join(', ');
}

/** The coefficients with their intervals, as pairs for a table of facts. */
export function estimatePairs({ estimates, level }: FitReport): [string, string][] {
  return estimates.map(({ name, value, interval }) => [
    name,
    `${signed(value)}  (${levelText(level)} interval ${signed(interval.low)} to ${signed(interval.high)})`,
  ]);
}

const signed = (value: number) => value.toPrecision(5);
const factorText = (factor: number) => Number(factor.toPrecision(2)).toString();
