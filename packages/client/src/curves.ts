import { WeftError } from '@weft/common';
import type { MetricsRow, RunView } from '@weft/contracts';
import { MetricsColumns } from './metrics-columns.js';
import { type Curve, thinned } from './thinned-curve.js';

/** Which steps of a run, and how many of them. */
export interface CurveRange {
  /** The first step; default 1. */
  readonly from?: number;
  /** The last step; default the last one there is. */
  readonly to?: number;
  /** At most so many points of each curve; default 1,000, at least 4. */
  readonly points?: number;
}

/** Curves of one run. */
export interface RunCurves {
  /** The step of the run's last row; 0 when there is none. */
  readonly lastStep: number;
  /** The names of all curves that the run has, see `curveValues`. */
  readonly names: readonly string[];
  /** Those that were asked for, by name; a run without such a curve has one without points. */
  readonly curves: Readonly<Record<string, Curve>>;
}

const DEFAULT_POINTS = 1000;

/** What curves are read from: a run, or its directory alone. */
type CurvesOf = Pick<RunView, 'directory'>;

/**
 * One curve of a run, such as `loss`: every value, or so few that the least and the greatest of every part remain.
 *
 * @throws WeftError `invalid_argument` for a range that is none
 */
export async function readCurve(run: CurvesOf, name: string, range: CurveRange = {}): Promise<Curve> {
  const { curves } = await readCurves(run, [name], range);
  return curves[name] ?? { steps: [], values: [] };
}

/**
 * Several curves of a run over the same steps.
 *
 * @param names a name that ends in `*` stands for all that begin so, as `seconds.*`
 * @throws as `readCurve`
 */
export async function readCurves(run: CurvesOf, names: readonly string[], range: CurveRange = {}): Promise<RunCurves> {
  const columns = await MetricsColumns.open(run.directory);
  const { first, last, points } = checked(range, columns.lastStep);
  const curves: Record<string, Curve> = {};
  for (const name of matching(columns.names, names))
    curves[name] = thinned(await columns.read(name, first, last), first, points);
  return { lastStep: columns.lastStep, names: columns.names, curves };
}

/**
 * Whole rows of a run: all of the range, or `points` of them at even distances, the last one always among them.
 *
 * @throws as `readCurve`
 */
export async function readRows(run: CurvesOf, range: CurveRange = {}): Promise<readonly MetricsRow[]> {
  const columns = await MetricsColumns.open(run.directory);
  const { first, last, points } = checked(range, columns.lastStep);
  const count = last - first + 1;
  const steps = Math.max(0, Math.min(points, count));
  const chosen = Array.from({ length: steps }, (_, at) => last - Math.floor(((steps - 1 - at) * count) / steps));
  return columns.rows(chosen);
}

function matching(known: readonly string[], wanted: readonly string[]): ReadonlySet<string> {
  return new Set(
    wanted.flatMap((name) => (name.endsWith('*') ? known.filter((each) => each.startsWith(name.slice(0, -1))) : name)),
  );
}

function checked({ from = 1, to, points = DEFAULT_POINTS }: CurveRange, lastStep: number) {
  const first = Math.max(1, from);
  const last = Math.min(lastStep, to ?? lastStep);
  if (![first, last, points].every(Number.isSafeInteger) || points < 4)
    throw new WeftError('invalid_argument', `from ${from}, to ${to}, points ${points} is no range of steps`, {
      hint: 'steps are whole numbers from 1; ask for at least 4 points',
    });
  return { first, last, points };
}
