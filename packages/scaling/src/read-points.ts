import { didYouMean, WeftError } from '@weft/common';
import { readTable, type TableRow } from './delimited-table.js';
import type { LawForm } from './law.js';
import { LOSS } from './metric.js';
import type { GridPoint, ScalePoint } from './points.js';

/** Columns with a meaning; the target's own is `learning_rate` or `batch_size`. `scale`, `seed` and `run` are for people. */
const COLUMNS = ['params', 'tokens', 'learning_rate', 'batch_size', 'loss', 'weight', 'scale', 'seed', 'run'] as const;

/** Far more than there are runs to fit to: a file of more is another one. */
const MOST_POINTS = 2000;

/**
 * Reads a table of points: a line of column names, then one line per point. Columns of other names are scores of one's
 * own. An empty score is a run that diverged or was given up.
 *
 * @param name of the file, for errors.
 * @param metric the column that runs are compared by; undefined: `loss`, where there is one.
 * @throws WeftError `invalid_argument` with file and line.
 */
export function readPoints(
  text: string,
  name: string,
  form: LawForm,
  metric: string | undefined = undefined,
): (ScalePoint | GridPoint)[] {
  const [header, ...rows] = readTable(text, name);
  const none = new WeftError('invalid_argument', `${name} holds no points`);
  if (header === undefined) throw none;
  if (rows.length > MOST_POINTS)
    throw new WeftError(
      'invalid_argument',
      `${name} holds ${rows.length} points, but a fit takes at most ${MOST_POINTS}`,
    );
  const columns = header.cells.map((cell) => cell.toLowerCase());
  const needed = [...form.variables, form.target === 'learningRate' ? 'learning_rate' : 'batch_size'];
  refuseColumns(columns, header.where, needed, metric);
  if (rows.length === 0) throw none;
  return rows.map((row) => pointOf(columns, row, form, metric ?? LOSS.name));
}

function refuseColumns(
  columns: readonly string[],
  where: string,
  needed: readonly string[],
  metric: string | undefined,
): void {
  const repeated = columns.find((column, i) => columns.indexOf(column) < i);
  if (repeated !== undefined)
    throw new WeftError('invalid_argument', `${where}: the column ${repeated} is there twice`);
  const known: readonly string[] = COLUMNS;
  // Others are scores, but a mistyped column must not go unnoticed, nor one that nothing is compared by.
  const isCompared = metric !== undefined || columns.includes(LOSS.name);
  for (const column of columns.filter((each) => !known.includes(each) && each !== metric?.toLowerCase())) {
    const meant = didYouMean(column, COLUMNS);
    if (isCompared && meant === undefined) continue;
    throw new WeftError('invalid_argument', `${where}: unknown column ${JSON.stringify(column)}`, {
      cure:
        meant === undefined
          ? `the columns are ${COLUMNS.join(', ')}; name a score of your own by --metric`
          : `did you mean ${meant}`,
    });
  }
  for (const column of [...needed, ...(metric === undefined ? [] : [metric.toLowerCase()])])
    if (!columns.includes(column))
      throw new WeftError('invalid_argument', `${where}: the column ${column} is missing`, {
        cure: `begin the file with a line such as ${[...needed, metric ?? LOSS.name].join(',')}`,
      });
}

function pointOf(
  columns: readonly string[],
  { cells, where }: TableRow,
  form: LawForm,
  metric: string,
): ScalePoint | GridPoint {
  if (cells.length !== columns.length)
    throw new WeftError('invalid_argument', `${where}: ${cells.length} cells in ${columns.length} columns`);
  const textOf = (column: string) => cells[columns.indexOf(column)];
  const read = (column: string) => {
    const text = textOf(column);
    return text === undefined ? undefined : positive(text, column, where);
  };
  const [params, tokens] = [read('params'), read('tokens')];
  const value = read(form.target === 'learningRate' ? 'learning_rate' : 'batch_size') ?? 0;
  const weight = textOf('weight') === '' ? undefined : read('weight');
  const score = textOf(metric.toLowerCase());
  return {
    ...(params === undefined ? {} : { params }),
    ...(tokens === undefined ? {} : { tokens }),
    value,
    ...(weight === undefined ? {} : { weight }),
    ...(score === undefined ? {} : { score: score === '' ? null : scoreOf(score, metric, where) }),
  };
}

function positive(text: string, column: string, where: string): number {
  const value = numberOf(text);
  if (value > 0) return value;
  throw refusal(text, column, where, 'a number above 0');
}

function scoreOf(text: string, column: string, where: string): number {
  const value = numberOf(text);
  if (!Number.isNaN(value)) return value;
  throw refusal(text, column, where, 'a number', 'leave it empty where a run diverged or was given up');
}

/** NaN for what is no finite decimal number. */
function numberOf(text: string): number {
  const value = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : Number.NaN;
  return Number.isFinite(value) ? value : Number.NaN;
}

function refusal(text: string, column: string, where: string, limit: string, otherwise?: string): WeftError {
  const cure = /^[\d.]+,\d/.test(text) ? 'write decimals with a point' : otherwise;
  const found = text === '' ? 'empty' : text.slice(0, 40);
  return new WeftError(
    'invalid_argument',
    `${where}: ${column} is ${found}, but must be ${limit}`,
    cure === undefined ? {} : { cure },
  );
}
