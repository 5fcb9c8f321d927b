import { WeftError } from '@weft/common';
import type { Matrix } from '../statistics/least-squares.js';

/** What a law predicts: the peak learning rate η, or the batch size B in tokens per step. */
export const TARGETS = ['learningRate', 'batchSize'] as const;
/** What a law predicts. */
export type Target = (typeof TARGETS)[number];

/** What a law depends on: N, the non-embedding parameters; D, the tokens of the whole run. */
export const VARIABLES = ['params', 'tokens'] as const;
/** A variable of a law. */
export type Variable = (typeof VARIABLES)[number];

/** The symbols used in the literature. */
export const SYMBOLS: Readonly<Record<Variable | Target, string>> = {
  params: 'N',
  tokens: 'D',
  learningRate: 'η',
  batchSize: 'B',
};

/** Which target depends on which variables. */
export interface LawForm {
  readonly target: Target;
  readonly variables: readonly Variable[];
}

/** The forms, by their names on the command line. */
export const FORMS = {
  'eta-n': { target: 'learningRate', variables: ['params'] },
  'eta-nd': { target: 'learningRate', variables: ['params', 'tokens'] },
  'batch-d': { target: 'batchSize', variables: ['tokens'] },
} as const satisfies Record<string, LawForm>;
/** The name of a form, such as `eta-n`. */
export type FormName = keyof typeof FORMS;

/** A closed interval. */
export interface Interval {
  readonly low: number;
  readonly high: number;
}

/** A power law: ln target = intercept + Σ exponents[k]·ln variables[k]. JSON-serialisable. */
export interface PowerLaw extends LawForm {
  /** `mm1`, or the name given to a fit. */
  readonly name: string;
  readonly intercept: number;
  /** One for each variable, in their order. */
  readonly exponents: readonly number[];
  /** The range of each variable in the law's data; null where it is not published. */
  readonly ranges: readonly (Interval | null)[];
  /** Null for a published law, whose residuals are not published. */
  readonly statistics: LawStatistics | null;
  /** Its origin, one sentence. */
  readonly source: string;
}

/** What a prediction interval is computed from. */
export interface LawStatistics {
  readonly points: number;
  readonly degreesOfFreedom: number;
  /** The variance of ln target around the law, of an observation of weight 1. */
  readonly residualVariance: number;
  /** (XᵀWX)⁻¹ with the rows [1, ln variables…]. */
  readonly inverse: Matrix;
  readonly rSquared: number | null;
}

/** Values of the variables of a law. */
export type LawInputs = Readonly<Partial<Record<Variable, number>>>;

/** [1, ln of every variable of the form]. @throws WeftError `invalid_argument` naming the variable that is missing. */
export function designRow({ variables }: LawForm, at: LawInputs, who: string): number[] {
  return [1, ...variables.map((variable) => Math.log(positive(at[variable], variable, who)))];
}

/** "η = 0.5749·N^-0.4214" */
export function formula({ target, variables, intercept, exponents }: PowerLaw): string {
  const powers = variables.map((variable, k) => `·${SYMBOLS[variable]}^${rounded(exponents[k] ?? 0)}`);
  return `${SYMBOLS[target]} = ${rounded(Math.exp(intercept))}${powers.join('')}`;
}

const rounded = (value: number) => String(Number(value.toPrecision(4)));

function positive(value: number | undefined, variable: Variable, who: string): number {
  if (value === undefined)
    throw new WeftError('invalid_argument', `${who} depends on ${variable} (${SYMBOLS[variable]}), which is not given`);
  if (Number.isFinite(value) && value > 0) return value;
  throw new WeftError('invalid_argument', `${variable} is ${value}, but must be a number above 0`);
}
