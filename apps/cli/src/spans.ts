import type { Colors } from './terminal.js';

/** A piece of a line with one style. Lines are cut to the terminal's width before they are painted. */
export interface Span {
  readonly text: string;
  readonly style?: Style;
}

export type Style = 'bold' | 'dim' | 'green' | 'yellow' | 'red' | 'cyan';
export type Line = readonly Span[];

export function span(text: string, style?: Style): Span {
  return style === undefined ? { text } : { text, style };
}

/** The number of characters of a line; all text here is one column per character. */
export function widthOf(line: Line): number {
  return line.reduce((width, { text }) => width + [...text].length, 0);
}

/** The first `columns` characters of a line; a cut line ends in "…". */
export function clip(line: Line, columns: number): Line {
  if (widthOf(line) <= columns) return line;
  const kept: Span[] = [];
  let room = Math.max(0, columns - 1);
  let style: Style | undefined;
  for (const piece of line) {
    if (room === 0) break;
    const characters = [...piece.text].slice(0, room);
    room -= characters.length;
    style = piece.style;
    kept.push({ ...piece, text: characters.join('') });
  }
  return columns > 0 ? [...kept, span('…', style)] : kept;
}

export function paint(line: Line, colors: Colors): string {
  return line.map(({ text, style }) => (style === undefined ? text : colors[style](text))).join('');
}
