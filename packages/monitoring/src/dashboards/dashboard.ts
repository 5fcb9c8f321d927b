/** A dashboard as it is written: what it asks and how it shows it. `grafana.ts` makes the JSON of it. */
export interface Dashboard {
  /** Part of its address, and the name of its file. */
  readonly uid: string;
  readonly title: string;
  readonly description: string;
  /** Whether it is about the run that is chosen above it, `$run` in its expressions. */
  readonly isAboutRun: boolean;
  readonly rows: readonly Row[];
}

interface Row {
  readonly title: string;
  readonly panels: readonly Panel[];
}

/** One picture. */
export interface Panel {
  readonly title: string;
  /** What it means, where the title does not say. */
  readonly help?: string;
  /** Default: lines. */
  readonly kind?: 'lines' | 'stacked' | 'number' | 'bars';
  readonly unit: Unit;
  readonly queries: readonly Query[];
  /** Of 24 columns; default: 12, and 4 for a number. */
  readonly width?: number;
}

/** An expression of PromQL, and how its series are called: a template of Grafana. */
export interface Query {
  readonly expression: string;
  readonly legend: string;
}

/** Names of Grafana's units. */
type Unit = 'none' | 'short' | 's' | 'bytes' | 'Bps' | 'percentunit' | 'percent' | 'sci' | 'ops';

/** The series of the chosen run. */
export const OF_RUN = '{run=~"$run"}';

/** The series of the chosen run with more matchers. */
export const ofRun = (matchers: string) => `{run=~"$run",${matchers}}`;

/** What a counter grew by a second, over as much time as Grafana thinks fit. */
export const rate = (counter: string) => `rate(${counter}[$__rate_interval])`;

/** The mean of a histogram by some labels. @param histogram its name; @param matchers with braces */
export function meanOf(histogram: string, matchers: string, by: string): string {
  const part = (suffix: string) => `sum by (${by}) (${rate(`${histogram}_${suffix}${matchers}`)})`;
  return `${part('sum')} / ${part('count')}`;
}

/** Under which so many of the values of a histogram lay. */
export function quantileOf(share: number, histogram: string, matchers: string, by = ''): string {
  const labels = by === '' ? 'le' : `le, ${by}`;
  return `histogram_quantile(${share}, sum by (${labels}) (${rate(`${histogram}_bucket${matchers}`)}))`;
}

/** One series of one name. */
export function one(expression: string, legend: string): readonly Query[] {
  return [{ expression, legend }];
}
