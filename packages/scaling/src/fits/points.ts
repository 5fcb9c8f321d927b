import { WeftError } from '@weft/common';
import { type LawForm, type LawInputs, SYMBOLS } from '../laws/power-law.js';

/** One observation of a law: the best value found for a model. */
export interface ScalePoint {
  /** N, non-embedding parameters. */
  readonly params?: number;
  /** D, tokens of the whole run. */
  readonly tokens?: number;
  /** The best η, or the best tokens per step. */
  readonly value: number;
  /** Positive; default 1. An observation of weight w has the variance σ²/w. */
  readonly weight?: number;
}

/** One run of a grid: the score of one rate at one scale. */
export interface GridPoint {
  readonly params?: number;
  readonly tokens?: number;
  /** The rate (or batch size) tried. */
  readonly value: number;
  /** By the metric; null for a run that diverged or was stopped early, which counts as worse than every other. */
  readonly score: number | null;
}

/** The variables of the form, picked from a point. */
export function pickVariables(point: LawInputs, { variables }: LawForm): LawInputs {
  return Object.fromEntries(variables.map((variable) => [variable, point[variable]]));
}

/** The name of a scale, the same for all its points: "N = 1.2e9", "N = 3e6, D = 1e9". */
export function scaleName(point: LawInputs, form: LawForm): string {
  return form.variables.map((variable) => `${SYMBOLS[variable]} = ${point[variable] ?? '?'}`).join(', ');
}

/** Groups points by scale, in ascending order of the form's variables. */
export function byScale<Point extends LawInputs>(points: readonly Point[], form: LawForm): Map<string, Point[]> {
  const sorted = points.toSorted((left, right) => {
    const difference = form.variables.map((variable) => (left[variable] ?? 0) - (right[variable] ?? 0));
    return difference.find((each) => each !== 0) ?? 0;
  });
  return groupBy(sorted, (point) => scaleName(point, form));
}

/** Like `Map.groupBy`, which Node 20 does not have. */
export function groupBy<Item, Key>(items: readonly Item[], keyOf: (item: Item) => Key): Map<Key, Item[]> {
  const groups = new Map<Key, Item[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [item]);
    else group.push(item);
  }
  return groups;
}

/** @throws WeftError `invalid_argument` naming the first number that is not finite and above 0 */
export function checkPositive(points: readonly (ScalePoint | GridPoint)[], form: LawForm): void {
  for (const [index, point] of points.entries()) {
    const numbers = {
      ...pickVariables(point, form),
      [form.target]: point.value,
      ...('weight' in point && point.weight !== undefined ? { weight: point.weight } : {}),
    };
    for (const [name, value] of Object.entries(numbers)) {
      if (value === undefined)
        throw new WeftError('invalid_argument', `point ${index + 1} has no ${name}, which the law depends on`);
      if (!(Number.isFinite(value) && value > 0))
        throw new WeftError(
          'invalid_argument',
          `point ${index + 1}: ${name} is ${value}, but must be a number above 0`,
        );
    }
    if ('score' in point && point.score !== null && !Number.isFinite(point.score))
      throw new WeftError('invalid_argument', `point ${index + 1}: the score is ${point.score}, but must be a number`, {
        hint: 'leave it out where a run diverged: it then counts as worse than every other',
      });
  }
}

/** What runs are compared by. JSON-serialisable. */
export interface Metric {
  /** `loss`, `heldOutLoss.text`, or a column of the table of points. */
  readonly name: string;
  readonly better: 'lower' | 'higher';
}

/** The training loss, the default metric. */
export const LOSS: Metric = { name: 'loss', better: 'lower' };

/** "lowest loss", "highest eight_shot" */
export function describeBest({ name, better }: Metric): string {
  return `${better === 'lower' ? 'lowest' : 'highest'} ${name}`;
}
