import { readCurves } from '@weft/client';
import { curveValues, type MetricsRow, type RunView } from '@weft/contracts';

/** Of a run's past so many points of each curve are read; a terminal has fewer columns. */
const POINTS = 400;
/** Longer curves lose every second point, and keep every second of those that come. */
const MOST_POINTS = 2000;

/** The points of a curve, in the order of their steps. */
interface Points {
  steps: number[];
  values: number[];
  /** Of so many points one is kept. */
  stride: number;
  /** Since the last one that was kept. */
  passed: number;
  latest: number | undefined;
}

/** The curves of a run that is watched, over its whole life and in little memory. */
export class WatchCurves {
  readonly #curves = new Map<string, Points>();
  #lastStep = 0;

  /** Begins with the run's past where its files are here; else with the first rows that come. */
  static async of(run: RunView): Promise<WatchCurves> {
    const curves = new WatchCurves();
    const past = await readCurves(run, ['*'], { points: POINTS }).catch(() => undefined);
    for (const [name, { steps, values }] of Object.entries(past?.curves ?? {}))
      curves.#curves.set(name, { steps: [...steps], values: [...values], stride: 1, passed: 0, latest: values.at(-1) });
    curves.#lastStep = past?.lastStep ?? 0;
    return curves;
  }

  get names(): readonly string[] {
    return [...this.#curves.keys()];
  }

  get lastStep(): number {
    return this.#lastStep;
  }

  /** Adds the rows that came since the last call. Steps that come again replace those that were rolled back. */
  follow(rows: readonly MetricsRow[]): void {
    const last = rows.at(-1)?.step ?? 0;
    if (last < this.#lastStep) this.#cutAfter(last);
    let first = rows.length;
    while (first > 0 && (rows[first - 1]?.step ?? 0) > this.#lastStep) first--;
    for (const row of rows.slice(first)) this.#add(row);
  }

  /**
   * The mean of a curve over `width` equal parts of the run. A part without a value has that of the one before, because some curves
   * have few; undefined before the first.
   */
  parts(name: string, width: number): readonly (number | undefined)[] {
    const { steps = [], values = [] } = this.#curves.get(name) ?? {};
    const sums = Array.from({ length: width }, () => ({ sum: 0, count: 0 }));
    for (const [at, step] of steps.entries()) {
      const part = sums[Math.min(width - 1, Math.floor(((step - 1) * width) / Math.max(1, this.#lastStep)))];
      if (part === undefined) continue;
      part.sum += values[at] ?? 0;
      part.count++;
    }
    let known: number | undefined;
    return sums.map(({ sum, count }) => {
      if (count > 0) known = sum / count;
      return known;
    });
  }

  latest(name: string): number | undefined {
    return this.#curves.get(name)?.latest;
  }

  #add(row: MetricsRow): void {
    this.#lastStep = row.step;
    for (const [name, value] of curveValues(row)) {
      const points = this.#curves.get(name) ?? { steps: [], values: [], stride: 1, passed: 0, latest: undefined };
      this.#curves.set(name, points);
      points.latest = value;
      if (++points.passed < points.stride) continue;
      points.passed = 0;
      points.steps.push(row.step);
      points.values.push(value);
      if (points.steps.length > MOST_POINTS) this.#thin(points);
    }
  }

  #thin(points: Points): void {
    const isKept = (_: number, at: number) => at % 2 === 0;
    points.stride *= 2;
    points.steps = points.steps.filter(isKept);
    points.values = points.values.filter(isKept);
  }

  #cutAfter(step: number): void {
    this.#lastStep = step;
    for (const points of this.#curves.values()) {
      const kept = points.steps.filter((each) => each <= step).length;
      points.steps.length = kept;
      points.values.length = kept;
      points.latest = points.values.at(-1);
    }
  }
}
