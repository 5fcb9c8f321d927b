import { didYouMean, WeftError } from '@weft/common';
import type { LawForm } from '../laws/power-law.js';
import { type GridPoint, LOSS, type ScalePoint } from './points.js';

/** Known columns. The target is `learning_rate` or `batch_size`; `scale`, `seed` and `run` are ignored. */
const COLUMNS = ['params', 'tokens', 'learning_rate', 'batch_size', 'loss', 'weight', 'scale', 'seed', 'run'] as const;

/** Far more than any sweep has runs: a longer file is not a table of points. */
const MOST_POINTS = 2000;

/**
 * Reads a table of points: a line of column names, then one line per point. Columns of other names are scores. An empty
 * score is a run that diverged or was stopped early.
 *
 * @param name of the file, for error messages
 * @param metric the column that runs are compared by; default `loss`
 * @throws WeftError `invalid_argument` with file and line
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
  return rows.map((row) => parsePoint(columns, row, form, metric ?? LOSS.name));
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
  // Other columns are scores; but a mistyped name is an error, and so is a score when nothing is compared by it.
  const isCompared = metric !== undefined || columns.includes(LOSS.name);
  for (const column of columns.filter((each) => !known.includes(each) && each !== metric?.toLowerCase())) {
    const meant = didYouMean(column, COLUMNS);
    if (isCompared && meant === undefined) continue;
    throw new WeftError('invalid_argument', `${where}: unknown column ${JSON.stringify(column)}`, {
      hint:
        meant === undefined
          ? `the columns are ${COLUMNS.join(', ')}; name a score of your own by --metric`
          : `did you mean ${meant}`,
    });
  }
  for (const column of [...needed, ...(metric === undefined ? [] : [metric.toLowerCase()])])
    if (!columns.includes(column))
      throw new WeftError('invalid_argument', `${where}: the column ${column} is missing`, {
        hint: `begin the file with a line such as ${[...needed, metric ?? LOSS.name].join(',')}`,
      });
}

function parsePoint(
  columns: readonly string[],
  { cells, where }: TableRow,
  form: LawForm,
  metric: string,
): ScalePoint | GridPoint {
  if (cells.length !== columns.length)
    throw new WeftError('invalid_argument', `${where}: ${cells.length} cells in ${columns.length} columns`);
  const cell = (column: string) => cells[columns.indexOf(column)];
  const read = (column: string) => {
    const text = cell(column);
    return text === undefined ? undefined : positive(text, column, where);
  };
  const [params, tokens] = [read('params'), read('tokens')];
  const value = read(form.target === 'learningRate' ? 'learning_rate' : 'batch_size') ?? 0;
  const weight = cell('weight') === '' ? undefined : read('weight');
  const score = cell(metric.toLowerCase());
  return {
    ...(params === undefined ? {} : { params }),
    ...(tokens === undefined ? {} : { tokens }),
    value,
    ...(weight === undefined ? {} : { weight }),
    ...(score === undefined ? {} : { score: score === '' ? null : parseScore(score, metric, where) }),
  };
}

function positive(text: string, column: string, where: string): number {
  const value = parseNumber(text);
  if (value > 0) return value;
  throw refusal(text, column, where, 'a number above 0');
}

function parseScore(text: string, column: string, where: string): number {
  const value = parseNumber(text);
  if (!Number.isNaN(value)) return value;
  throw refusal(text, column, where, 'a number', 'leave it empty where a run diverged or was given up');
}

/** NaN for text that is not a finite decimal number. */
function parseNumber(text: string): number {
  const value = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : Number.NaN;
  return Number.isFinite(value) ? value : Number.NaN;
}

function refusal(text: string, column: string, where: string, limit: string, otherwise?: string): WeftError {
  const hint = /^[\d.]+,\d/.test(text) ? 'write decimals with a point' : otherwise;
  const found = text === '' ? 'empty' : text.slice(0, 40);
  return new WeftError(
    'invalid_argument',
    `${where}: ${column} is ${found}, but must be ${limit}`,
    hint === undefined ? {} : { hint },
  );
}

/** One line of a table, with its location, such as "points.csv:3". */
interface TableRow {
  readonly cells: readonly string[];
  readonly where: string;
}

const SEPARATORS = [',', ';', '\t'] as const;

/**
 * The lines of a table as spreadsheets write it: cells separated by commas, semicolons or tabs, optionally quoted, with any
 * line ends and a byte order mark. Blank lines and lines that begin with # are skipped. The first other line determines
 * the separator.
 *
 * @throws WeftError `invalid_argument` for a file that is not text
 */
function readTable(text: string, name: string): TableRow[] {
  if (/[\0\uFFFD]/.test(text))
    throw new WeftError('invalid_argument', `${name} is not a text in UTF-8`, { hint: 'save it as CSV in UTF-8' });
  const lines = text
    .replace(/^\uFEFF/, '')
    .split(/\r\n|\r|\n/)
    .map((line, index) => ({ line, where: `${name}:${index + 1}` }))
    .filter(({ line }) => /[^\s,;]/.test(line) && !/^\s*"?#/.test(line));
  const separator = SEPARATORS.find((each) => lines[0]?.line.includes(each)) ?? ',';
  return lines.map(({ line, where }) => ({ cells: line.split(separator).map(withoutQuotes), where }));
}

/** Names and numbers contain no separators, so quotation marks around them have no meaning. */
const withoutQuotes = (cell: string) =>
  cell
    .trim()
    .replace(/^"(.*)"$/, '$1')
    .trim();
