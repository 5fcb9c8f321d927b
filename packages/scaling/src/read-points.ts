import { didYouMean, WeftError } from '@weft/common';
import type { LawForm } from './law.js';
import type { GridPoint, ScalePoint } from './points.js';

/** Columns of a points file; the target's own is `learning_rate` or `batch_size`. `scale`, `seed` and `run` are for people. */
const COLUMNS = ['params', 'tokens', 'learning_rate', 'batch_size', 'loss', 'weight', 'scale', 'seed', 'run'] as const;
type Column = (typeof COLUMNS)[number];
const WORDS: ReadonlySet<string> = new Set<Column>(['scale', 'run']);

/**
 * Reads comma-separated points: a line of column names, then one line per point; blank lines and lines that begin
 * with # are left out. An empty loss is a run that diverged or was given up.
 *
 * @param name of the file, for errors.
 * @throws WeftError `invalid_argument` with file and line.
 */
export function readPoints(text: string, name: string, form: LawForm): (ScalePoint | GridPoint)[] {
  const lines = text
    .replace(/^\uFEFF/, '')
    .split(/\r?\n/)
    .map((line, index) => ({ cells: line.split(',').map((cell) => cell.trim()), where: `${name}:${index + 1}` }))
    .filter(({ cells }) => cells.join('') !== '' && !cells[0]?.startsWith('#'));
  const [header, ...rows] = lines;
  if (header === undefined) throw new WeftError('invalid_argument', `${name} holds no points`);
  const columns = header.cells.map((cell) => columnOf(cell, header.where));
  const target: Column = form.target === 'learningRate' ? 'learning_rate' : 'batch_size';
  for (const needed of [...form.variables, target]) {
    if (!columns.includes(needed))
      throw new WeftError('invalid_argument', `${header.where}: the column ${needed} is missing`, {
        cure: `begin the file with a line such as ${[...form.variables, target].join(',')}`,
      });
  }
  return rows.map(({ cells, where }) => pointOf(columns, cells, where, target));
}

function columnOf(text: string, where: string): Column {
  const wanted = text.toLowerCase().replaceAll(/^"|"$/g, '');
  const column = COLUMNS.find((each) => each === wanted);
  if (column !== undefined) return column;
  const meant = didYouMean(wanted, COLUMNS);
  throw new WeftError('invalid_argument', `${where}: unknown column ${JSON.stringify(text)}`, {
    cure: meant === undefined ? `the columns are ${COLUMNS.join(', ')}` : `did you mean ${meant}`,
  });
}

function pointOf(
  columns: readonly Column[],
  cells: readonly string[],
  where: string,
  target: Column,
): ScalePoint | GridPoint {
  if (cells.length !== columns.length)
    throw new WeftError('invalid_argument', `${where}: ${cells.length} cells in ${columns.length} columns`);
  const read = (column: Column): number | undefined => {
    const text = cells[columns.indexOf(column)];
    if (text === undefined || (text === '' && (column === 'loss' || column === 'weight'))) return undefined;
    return WORDS.has(column) ? undefined : numberOf(text, column, where);
  };
  const [params, tokens, weight] = [read('params'), read('tokens'), read('weight')];
  const value = read(target);
  if (value === undefined) throw new WeftError('invalid_argument', `${where}: ${target} is empty`);
  return {
    ...(params === undefined ? {} : { params }),
    ...(tokens === undefined ? {} : { tokens }),
    value,
    ...(weight === undefined ? {} : { weight }),
    ...(columns.includes('loss') ? { loss: read('loss') ?? null } : {}),
  };
}

function numberOf(text: string, column: Column, where: string): number {
  const value = Number(text);
  const mayBeAny = column === 'loss' || column === 'seed';
  if (text !== '' && Number.isFinite(value) && (value > 0 || mayBeAny)) return value;
  const limit = mayBeAny ? 'a number' : 'a number above 0';
  const cure = column === 'loss' ? { cure: 'leave the loss empty where a run diverged or was given up' } : {};
  throw new WeftError(
    'invalid_argument',
    `${where}: ${column} is ${text === '' ? 'empty' : text}, but must be ${limit}`,
    cure,
  );
}
