import type { RunConfig } from './run-config.js';

/** How a learning rate that was written as `auto` came about. It explains a run, and changes nothing in it. */
export interface LearningRateSource {
  /** What the law gave. The source is forgotten when `optimizer.learningRate` is changed by hand. */
  readonly value: number;
  /** The law's name: a published one such as `mm1`, or the file of a fit of one's own. */
  readonly fit: string;
  /** The law itself, such as η = 0.5749·N^-0.4214. */
  readonly formula: string;
  /** Where the law comes from, one sentence. */
  readonly source: string;
  /** N of this run's model: the decoder without embeddings, experts counted as the dense layer they stand for. */
  readonly params: number;
  /** D of this run: positions of all its sequences. */
  readonly tokens: number;
  /** The prediction interval; null for a published law whose residuals are not. */
  readonly interval: { readonly low: number; readonly high: number; readonly level: number } | null;
  /** How many times larger, or smaller, the run is than all the law was fitted to; 1 where it lies within. */
  readonly extrapolation: number;
}

/** A learning rate as a person may write it: a number, `auto` for MM1's law, or `auto:<law or fit file>`. */
export const AUTOMATIC_RATE = /^auto(?::(.+))?$/;
const DEFAULT_LAW = 'mm1';

/** The law that `optimizer.learningRate` of a merged, not yet checked, configuration asks for; undefined for a number. */
export function automaticLaw(input: unknown): string | undefined {
  const optimizer = fieldOf(input, 'optimizer');
  const match = AUTOMATIC_RATE.exec(String(fieldOf(optimizer, 'learningRate')));
  return match === null ? undefined : (match[1] ?? DEFAULT_LAW);
}

/** Finds the rate of a run that is complete but for its optimizer. */
export type AutomaticRate = (run: Omit<RunConfig, 'optimizer' | 'learningRateSource'>) => LearningRateSource;

function fieldOf(group: unknown, name: string): unknown {
  return typeof group === 'object' && group !== null && name in group
    ? Object.entries(group).find(([key]) => key === name)?.[1]
    : undefined;
}
