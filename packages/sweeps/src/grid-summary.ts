import type { RepeatedValue } from '@weft/scaling';
import type { GridOutline, Measure } from './grid-plan.js';
import type { GridRun } from './grid-run.js';

/** A cell of a grid: the values of all its seeds. JSON-serialisable. */
export interface GridCell {
  /** The label of every axis' value. */
  readonly labels: readonly string[];
  readonly runIds: readonly string[];
  /** By the titles of measures and details; null where no seed has a value. */
  readonly values: Readonly<Record<string, RepeatedValue | null>>;
}

/** The cells of a grid, in the order of its plan. */
export function gridCells(outline: GridOutline, runs: readonly GridRun[]): readonly GridCell[] {
  const byCell = new Map<string, GridRun[]>();
  for (const run of runs) {
    if (run.planned.first !== null) continue;
    const name = JSON.stringify(run.planned.cell);
    byCell.set(name, [...(byCell.get(name) ?? []), run]);
  }
  return [...byCell.values()].map((own) => ({
    labels: own[0]?.planned.cell ?? [],
    runIds: own.map(({ view }) => view.runId),
    values: Object.fromEntries(
      [...outline.measures, ...outline.details].map(({ title }) => [
        title,
        repeated(own.flatMap(({ values }) => values[title] ?? [])),
      ]),
    ),
  }));
}

/** The mean and its standard error, s/√n. */
function repeated(values: readonly number[]): RepeatedValue | null {
  const n = values.length;
  if (n === 0) return null;
  const mean = values.reduce((sum, value) => sum + value, 0) / n;
  if (n === 1) return { mean, error: null, values };
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (n - 1);
  return { mean, error: Math.sqrt(variance / n), values };
}

/** The best mean of a measure over all cells; undefined where nothing sets them apart. */
export function bestMean(cells: readonly GridCell[], { title, better }: Measure): number | undefined {
  const means = cells.flatMap(({ values }) => values[title]?.mean ?? []);
  const [low, high] = [Math.min(...means), Math.max(...means)];
  if (means.length < 2 || low === high) return undefined;
  return better === 'higher' ? high : low;
}

/** `41.3 ± 0.7`, with three digits of a loss; empty where there is no value. */
export function valueText(value: RepeatedValue | null | undefined, { better }: Measure): string {
  if (value === null || value === undefined) return '';
  const digits = better === 'higher' ? 1 : 3;
  const error = value.error === null ? '' : ` ± ${value.error.toFixed(digits)}`;
  return `${value.mean.toFixed(digits)}${error}`;
}
