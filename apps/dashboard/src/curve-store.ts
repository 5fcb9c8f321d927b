import { signal } from '@preact/signals';
import { curveValues, type MetricsRow, type PageCurves } from '@weft/contracts';
import { get, runPath } from './api.js';

/** One curve. Grows at its end while the run goes on. */
export interface Curve {
  readonly steps: number[];
  readonly values: number[];
}

/** How many points of a curve are asked for: about two for each pixel of a chart. */
const POINTS = 1200;
/** After so many new rows the curves are asked for again, thinned anew. */
const MOST_NEW_ROWS = 2000;

/** Which curves the page shows; a star stands for anything. */
const NAMES = 'loss*,heldOut*,score.*,learningRate,gradNorm,tokensPerSecond,mfu,seconds.*,sequences.*,moe.*';

/** The curves of one run in a range of steps, as they are shown. */
export class CurveStore {
  readonly runId: string;
  /** Grows with every change. */
  readonly version = signal(0);
  readonly error = signal<unknown>(undefined);
  #curves: Record<string, Curve> = {};
  #lastStep = 0;
  #range: readonly [from: number, to: number] | undefined;
  #newRows = 0;
  #isAsked = false;
  #isDirty = false;

  constructor(runId: string) {
    this.runId = runId;
  }

  get lastStep(): number {
    return this.#lastStep;
  }

  get names(): readonly string[] {
    return Object.keys(this.#curves);
  }

  curve(name: string): Curve | undefined {
    return this.#curves[name];
  }

  /** Shows a range of steps, or all. */
  async load(range: readonly [from: number, to: number] | undefined): Promise<void> {
    this.#range = range;
    const query = new URLSearchParams({ names: NAMES, points: `${POINTS}` });
    if (range !== undefined) {
      query.set('from', `${Math.max(1, Math.floor(range[0]))}`);
      query.set('to', `${Math.max(1, Math.ceil(range[1]))}`);
    }
    this.#isAsked = true;
    try {
      const { curves, lastStep } = await get<PageCurves>(`${runPath(this.runId, 'curves')}?${query}`);
      if (this.#range !== range) return;
      this.#curves = curves as Record<string, Curve>;
      this.#lastStep = lastStep;
      this.#newRows = 0;
      this.error.value = undefined;
    } catch (thrown) {
      this.error.value = thrown;
    } finally {
      this.#isAsked = false;
      this.#changed();
    }
  }

  /** Adds a new step. One that comes again replaces it and those after it: they were rolled back. */
  add(row: MetricsRow): void {
    if (row.step <= this.#lastStep) void this.load(this.#range);
    if (this.#range !== undefined || this.#isAsked) return;
    this.#lastStep = row.step;
    if (++this.#newRows > MOST_NEW_ROWS) void this.load(undefined);
    for (const [name, value] of curveValues(row)) {
      const curve = this.#curves[name] ?? { steps: [], values: [] };
      this.#curves[name] = curve;
      curve.steps.push(row.step);
      curve.values.push(value);
    }
    this.#changed();
  }

  /** At most once a frame. */
  #changed(): void {
    if (this.#isDirty) return;
    this.#isDirty = true;
    requestAnimationFrame(() => {
      this.#isDirty = false;
      this.version.value++;
    });
  }
}

/**
 * A moving average that forgets: each value counts `1 - amount`, those before it the rest. Corrected at the beginning, so
 * that the first values do not pull.
 *
 * @param amount 0 for no smoothing, below 1
 */
export function smoothed(values: readonly number[], amount: number): number[] {
  if (amount <= 0) return [...values];
  let average = 0;
  let weight = 0;
  return values.map((value) => {
    if (!Number.isFinite(value)) return value;
    average = amount * average + (1 - amount) * value;
    weight = amount * weight + (1 - amount);
    return average / weight;
  });
}
