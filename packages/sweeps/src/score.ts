import type { SweepMetric } from '@weft/config';

/** A line of `metrics.jsonl` with any fields. */
export type Row = Readonly<object>;

/**
 * The score of a finished run: its last held-out loss or score of a task, or the mean of another field over its last steps.
 * Null when a value was not finite, or nothing was evaluated.
 */
export function scoreOf(rows: readonly Row[], metric: SweepMetric, lastSteps: number): number | null {
  return valueAt(rows, pathOf(metric), lastSteps);
}

/** As `scoreOf`, by the path of a field in a row. */
export function valueAt(rows: readonly Row[], path: readonly string[], lastSteps: number): number | null {
  const [evaluation = ''] = path;
  if (evaluation === 'heldOut' || evaluation === 'taskScores') {
    const evaluated = rows.findLast((row) => evaluation in row);
    return evaluated === undefined ? null : numberAt(evaluated, path);
  }
  return meanOf(rows.slice(-lastSteps).map((row) => numberAt(row, path)));
}

/** The fields of a row that lead to a metric. */
function pathOf(metric: SweepMetric): readonly string[] {
  const [group = '', field] = metric.split('.');
  if (metric === 'trainingLoss') return ['loss'];
  if (group === 'heldOutLoss') return field === undefined ? ['heldOut', 'loss'] : ['heldOut', 'sources', field];
  if (group === 'eval') return evalPath(metric);
  if (group === 'moe') return ['moe', 'layers', field ?? ''];
  return metric.split('.');
}

/** `eval.coco.8`, and `eval.average.8` for the mean over tasks. */
function evalPath(metric: SweepMetric): readonly string[] {
  const [, task = '', shots = ''] = metric.split('.');
  const isMean = task === 'average' || task === 'textAverage';
  return isMean ? ['taskScores', task, shots] : ['taskScores', 'scores', task, shots];
}

/** The number at the end of a path; where the path goes through a list, the mean over it. Null when there is none. */
function numberAt(value: unknown, path: readonly string[]): number | null {
  if (Array.isArray(value)) return meanOf(value.map((each) => numberAt(each, path)));
  const [name, ...rest] = path;
  if (name === undefined) return typeof value === 'number' && Number.isFinite(value) ? value : null;
  if (typeof value !== 'object' || value === null) return null;
  return numberAt(Object.entries(value).find(([key]) => key === name)?.[1], rest);
}

function meanOf(values: readonly (number | null)[]): number | null {
  if (values.length === 0) return null;
  const sum = values.reduce((total, value) => (total === null || value === null ? null : total + value), 0);
  return sum === null ? null : sum / values.length;
}
