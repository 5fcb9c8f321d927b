import { WeftError } from '@weft/common';

/** One line of a table, and where it stands, such as "points.csv:3". */
export interface TableRow {
  readonly cells: readonly string[];
  readonly where: string;
}

const SEPARATORS = [',', ';', '\t'] as const;

/**
 * The lines of a table as spreadsheets write it: cells between commas, semicolons or tabs, perhaps in quotation marks, with
 * any line ends and a byte order mark. Blank lines and lines that begin with # are left out. The first line that is not
 * decides what separates cells.
 *
 * @param name of the file, for errors.
 * @throws WeftError `invalid_argument` for what is not text.
 */
export function readTable(text: string, name: string): TableRow[] {
  if (/[\0\uFFFD]/.test(text))
    throw new WeftError('invalid_argument', `${name} is not a text in UTF-8`, { cure: 'save it as CSV in UTF-8' });
  const lines = text
    .replace(/^\uFEFF/, '')
    .split(/\r\n|\r|\n/)
    .map((line, index) => ({ line, where: `${name}:${index + 1}` }))
    .filter(({ line }) => /[^\s,;]/.test(line) && !/^\s*"?#/.test(line));
  const separator = SEPARATORS.find((each) => lines[0]?.line.includes(each)) ?? ',';
  return lines.map(({ line, where }) => ({ cells: line.split(separator).map(withoutQuotes), where }));
}

/** Names and numbers hold no separators, so that quotation marks around them mean nothing. */
const withoutQuotes = (cell: string) =>
  cell
    .trim()
    .replace(/^"(.*)"$/, '$1')
    .trim();
