import stringWidth from 'string-width';
import { type Colors, print, type Terminal } from './terminal.js';

/** A part of a line with one style. Lines are cut to the terminal's width before they are painted. */
export interface Span {
  readonly text: string;
  readonly style?: Style;
}

/** A style of text in a terminal. */
export type Style = 'bold' | 'dim' | 'green' | 'yellow' | 'red' | 'cyan';
/** A line as its spans, from left to right. */
export type Line = readonly Span[];

/** A part of a line. */
export function span(text: string, style?: Style): Span {
  return style === undefined ? { text } : { text, style };
}

/** Prints lines as they are; the terminal wraps those that are too long. */
export function printLines(terminal: Terminal, lines: readonly Line[]): void {
  for (const line of lines) print(terminal, paint(line, terminal.colors));
}

/** Prints the rows of a table: cut at the right edge of a terminal, whole in a file or pipe. */
export function printTable(terminal: Terminal, rows: readonly Line[]): void {
  const columns = terminal.stdout.isTTY ? terminal.stdout.columns : Number.POSITIVE_INFINITY;
  printLines(
    terminal,
    rows.map((row) => clip(row, columns)),
  );
}

/** A line with the escape sequences of its styles. */
export function paint(line: Line, colors: Colors): string {
  return line.map(({ text, style }) => (style === undefined ? text : colors[style](text))).join('');
}

/** The terminal columns a line takes; wide characters and emoji take two. */
export function lineWidth(line: Line): number {
  return line.reduce((width, { text }) => width + stringWidth(text), 0);
}

/** As much of a line as fits into `columns`; a cut line ends in "…". */
export function clip(line: Line, columns: number): Line {
  if (lineWidth(line) <= columns) return line;
  const kept: Span[] = [];
  let left = columns - 1;
  let style: Style | undefined;
  for (const each of line) {
    if (left <= 0) break;
    const text = takeColumns(each.text, left);
    style = each.style;
    kept.push({ ...each, text });
    // A wide character may leave one column free.
    left = text === each.text ? left - stringWidth(text) : 0;
  }
  return columns > 0 ? [...kept, span('…', style)] : kept;
}

const graphemes = new Intl.Segmenter();

function takeColumns(text: string, columns: number): string {
  let taken = '';
  let width = 0;
  for (const { segment } of graphemes.segment(text)) {
    width += stringWidth(segment);
    if (width > columns) break;
    taken += segment;
  }
  return taken;
}

/** A column of a table. */
export interface Column {
  readonly title: string;
  /** Default: left. */
  readonly align?: 'left' | 'right';
}

/** Lays out cells in columns two blanks apart; a cell is text or a styled span. The title line comes first. */
export function table(columns: readonly Column[], rows: readonly (readonly (string | Span)[])[]): Line[] {
  const cells = rows.map((row) => row.map((cell) => (typeof cell === 'string' ? span(cell) : cell)));
  const titles = columns.map(({ title }) => span(title, 'dim'));
  const widths = columns.map((_, at) => Math.max(...[titles, ...cells].map((row) => lineWidth([row[at] ?? span('')]))));
  return [titles, ...cells].map((row) =>
    columns.flatMap(({ align }, at) => {
      const cell = row[at] ?? span('');
      const fill = ' '.repeat((widths[at] ?? 0) - lineWidth([cell]));
      const last = at === columns.length - 1;
      const gap = last ? '' : '  ';
      return align === 'right' ? [span(fill), cell, span(gap)] : [cell, span(last ? '' : fill + gap)];
    }),
  );
}

/** "name   value" lines, the names aligned: the body of `status` and `launch --dry-run`. */
export function summaryRows(pairs: readonly (readonly [string, string | Span])[]): Line[] {
  const width = Math.max(0, ...pairs.map(([name]) => name.length));
  return pairs.map(([name, value]) => [
    span(`  ${name.padEnd(width)}  `, 'dim'),
    typeof value === 'string' ? span(value) : value,
  ]);
}
