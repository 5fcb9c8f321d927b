import { WeftError } from '@weft/common';
import type { MetricsRow, RunView } from '@weft/contracts';
import type { DrivenSweep, FollowedRun } from './drive-runs.js';
import type { GridOutline, GridPoint, Measure } from './grid-plan.js';
import { valueAt } from './score.js';

/** The current state of a run of a grid. */
export interface GridRun extends FollowedRun {
  readonly planned: GridPoint;
  /** By the titles of measures and details; null before it has finished, and where it has none. */
  readonly values: Readonly<Record<string, number | null>>;
}

/** Reads the runs of a grid by their index. */
export function readGridRun({ id, runs, measures, details }: GridOutline): DrivenSweep<GridRun>['read'] {
  return (index, view, rows) => {
    const planned = runs[index];
    if (planned === undefined) throw new WeftError('internal', `the grid ${id} has more runs than its record`);
    return gridRun(planned, view, rows, [...measures, ...details]);
  };
}

function gridRun(
  planned: GridPoint,
  view: RunView,
  rows: readonly MetricsRow[],
  measures: readonly Measure[],
): GridRun {
  const losses = rows.map(({ loss }) => loss);
  const isWhole = view.status === 'finished' && losses.length >= view.steps;
  const values = measures.map(({ title, path }) => [title, isWhole ? valueAt(rows, path, LAST_STEPS) : null] as const);
  return { planned, view, losses, values: Object.fromEntries(values) };
}

/** The training loss is the mean over this many last steps. */
const LAST_STEPS = 10;

/** A run of a grid in the words of `--json` and of `results.json`. */
export function gridRunJson({ planned, view, values }: GridRun) {
  const { cell, first, seed } = planned;
  return { runId: view.runId, cell, first, seed, status: view.status, step: view.step, values };
}
