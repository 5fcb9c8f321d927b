import { type Line, lineWidth, paint } from '../styled-lines.js';
import type { Terminal } from '../terminal.js';

/** Lines at the bottom of a terminal that are drawn again in place, while other lines scroll by above them. */
export class LiveRegion {
  readonly #terminal: Terminal;
  #drawn: readonly Line[] = [];

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  draw(lines: readonly Line[]): void {
    const { stdout, colors } = this.#terminal;
    // Each line is written over the one before it and only then cleared to its right, so that nothing blinks.
    const written = lines.map((line) => `${paint(line, colors)}\x1b[K\n`).join('');
    stdout.write(`${this.#toTop()}${written}${this.#drawn.length === 0 ? '' : '\x1b[J'}`);
    this.#drawn = lines;
  }

  /** Prints a line that stays, in place of the region; the caller draws the region again. */
  printAbove(text: string): void {
    const clear = this.#drawn.length === 0 ? '' : '\x1b[J';
    this.#terminal.stdout.write(`${this.#toTop()}${clear}${text}\n`);
    this.#drawn = [];
  }

  /** Removes what is drawn. */
  clear(): void {
    this.draw([]);
  }

  /** Keeps what is drawn on the screen for good. */
  keep(): void {
    this.#drawn = [];
  }

  /** Moves to the first row of what was drawn. */
  #toTop(): string {
    if (this.#drawn.length === 0) return '';
    const columns = Math.max(1, this.#terminal.stdout.columns);
    // A terminal made narrower since has wrapped the lines into more rows.
    const rows = this.#drawn.reduce((sum, line) => sum + Math.max(1, Math.ceil(lineWidth(line) / columns)), 0);
    return `\x1b[${rows}A\r`;
  }
}
