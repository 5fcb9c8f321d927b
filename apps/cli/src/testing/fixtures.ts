import picocolors from 'picocolors';
import type { Terminal } from '../terminal.js';

/** A terminal that keeps what was written. */
export interface RecordedTerminal extends Terminal {
  readonly written: { out: string; err: string };
}

export function recordedTerminal(
  options: { isTTY?: boolean; columns?: number; rows?: number; env?: Terminal['env'] } = {},
): RecordedTerminal {
  const written = { out: '', err: '' };
  const { isTTY = false, columns = 80, rows = 24, env = {} } = options;
  const append = (to: 'out' | 'err', text: string) => {
    written[to] += text;
  };
  return {
    written,
    stdout: { write: (text) => append('out', text), isTTY, columns, rows },
    stderr: { write: (text) => append('err', text), isTTY, columns, rows },
    env,
    colors: picocolors.createColors(false),
    commandName: 'weft',
  };
}

const CONTROL = '\\u001b\\[(\\d*)([A-Z])';

/** What a terminal would show after the text was written: knows line feed, carriage return, cursor up, clear, and clear to the right. */
export function screenOf(text: string, columns: number): string[] {
  const rows: string[][] = [[]];
  let row = 0;
  let column = 0;
  for (const token of text.match(new RegExp(`${CONTROL}|[\\s\\S]`, 'g')) ?? []) {
    const control = token.match(new RegExp(`^${CONTROL}$`));
    if (control?.[2] === 'A') row = Math.max(0, row - Number(control[1] || 1));
    else if (control?.[2] === 'J') rows.splice(row, Infinity, (rows[row] ?? []).slice(0, column));
    else if (control?.[2] === 'K') rows[row] = (rows[row] ?? []).slice(0, column);
    else if (token === '\r') column = 0;
    else if (token === '\n') [row, column] = [row + 1, 0];
    else {
      if (column === columns) [row, column] = [row + 1, 0];
      while (rows.length <= row) rows.push([]);
      rows[row]![column++] = token;
    }
    while (rows.length <= row) rows.push([]);
  }
  return rows.map((characters) => characters.join('')).filter((line, at) => line !== '' || at < rows.length - 1);
}
