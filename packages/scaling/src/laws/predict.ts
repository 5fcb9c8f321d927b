import { WeftError } from '@weft/common';
import { scaleName } from '../fits/points.js';
import { quadraticForm } from '../statistics/least-squares.js';
import { studentT } from '../statistics/student-t.js';
import { designRow, type Interval, type LawInputs, type PowerLaw, type Target, type Variable } from './power-law.js';

/** MM1's rule for every model: λ = 0.1·η, for a fully decoupled AdamW (λ is not multiplied by η again). */
const WEIGHT_DECAY_PER_LEARNING_RATE = 0.1;
/** The probability of intervals unless another one is asked for. */
export const DEFAULT_LEVEL = 0.95;

/** 0.95 → "95 %" */
export const levelText = (level: number): string => `${Number((100 * level).toPrecision(6))} %`;

/** The prediction of a law for one model. JSON-serialisable. */
export interface Prediction {
  readonly law: string;
  readonly target: Target;
  readonly at: LawInputs;
  /** η, or tokens per step. */
  readonly value: number;
  /** λ, for a learning rate. */
  readonly weightDecay: number | null;
  /** Holds the optimum of a new model of this size with probability `level`; null for a law without statistics. */
  readonly interval: Interval | null;
  readonly level: number;
  /** The variables whose value is outside the law's data, and by which factor. */
  readonly outside: readonly Outside[];
}

/** A variable whose value is outside the range of the law's data. */
export interface Outside {
  readonly variable: Variable;
  readonly side: 'above' | 'below';
  /** Above 1: 25 means twenty-five times the largest, or a twenty-fifth of the smallest, of the law's points. */
  readonly factor: number;
}

/**
 * The law's value, its prediction interval (Student's t, for one new observation of weight 1), and how far the model is
 * outside the law's data.
 *
 * @throws WeftError `invalid_argument` when a variable of the law is missing or not above 0, `failed_precondition` when
 * the value is not a finite positive number
 */
export function predict(law: PowerLaw, at: LawInputs, level = DEFAULT_LEVEL): Prediction {
  const row = designRow(law, at, law.name);
  const logValue = row.slice(1).reduce((sum, x, k) => sum + x * (law.exponents[k] ?? 0), law.intercept);
  const value = Math.exp(logValue);
  if (!Number.isFinite(value) || value === 0)
    throw new WeftError('failed_precondition', `${law.name} gives no finite number at ${scaleName(at, law)}`, {
      hint: 'fit it to scales that lie farther apart',
    });
  return {
    law: law.name,
    target: law.target,
    at: Object.fromEntries(law.variables.map((variable) => [variable, at[variable]])),
    value,
    weightDecay: law.target === 'learningRate' ? value * WEIGHT_DECAY_PER_LEARNING_RATE : null,
    interval: interval(law, row, logValue, level),
    level,
    outside: law.variables.flatMap((variable, k) => outside(variable, at[variable], law.ranges[k] ?? null)),
  };
}

function interval({ statistics }: PowerLaw, row: readonly number[], logValue: number, level: number): Interval | null {
  if (statistics === null) return null;
  const { residualVariance, inverse, degreesOfFreedom } = statistics;
  const spread = Math.sqrt(residualVariance * (1 + quadraticForm(row, inverse)));
  const halfWidth = studentT(level, degreesOfFreedom) * spread;
  return { low: Math.exp(logValue - halfWidth), high: Math.exp(logValue + halfWidth) };
}

function outside(variable: Variable, value: number | undefined, range: Interval | null): Outside[] {
  if (range === null || value === undefined) return [];
  if (value > range.high) return [{ variable, side: 'above', factor: value / range.high }];
  if (value < range.low) return [{ variable, side: 'below', factor: range.low / value }];
  return [];
}
