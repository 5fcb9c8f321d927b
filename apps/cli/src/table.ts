import { type Line, type Span, span, widthOf } from './spans.js';

export interface Column {
  readonly title: string;
  readonly align?: 'left' | 'right';
}

/** Lays out cells in columns two blanks apart; a cell is text or a styled span. The title line comes first. */
export function table(columns: readonly Column[], rows: readonly (readonly (string | Span)[])[]): Line[] {
  const cells = rows.map((row) => row.map((cell) => (typeof cell === 'string' ? span(cell) : cell)));
  const titles = columns.map(({ title }) => span(title, 'dim'));
  const widths = columns.map((_, at) => Math.max(...[titles, ...cells].map((row) => widthOf([row[at] ?? span('')]))));
  return [titles, ...cells].map((row) =>
    columns.flatMap(({ align }, at) => {
      const cell = row[at] ?? span('');
      const fill = ' '.repeat((widths[at] ?? 0) - widthOf([cell]));
      const last = at === columns.length - 1;
      const gap = last ? '' : '  ';
      return align === 'right' ? [span(fill), cell, span(gap)] : [cell, span(last ? '' : fill + gap)];
    }),
  );
}

/** "name   value" lines, the names aligned: the body of `status` and `launch --dry-run`. */
export function facts(pairs: readonly (readonly [string, string | Span])[]): Line[] {
  const width = Math.max(0, ...pairs.map(([name]) => name.length));
  return pairs.map(([name, value]) => [
    span(`  ${name.padEnd(width)}  `, 'dim'),
    typeof value === 'string' ? span(value) : value,
  ]);
}
