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
    stdout.write(this.#erasure() + lines.map((line) => `${paint(line, colors)}\n`).join(''));
    this.#drawn = lines;
  }

  /** Prints a line that stays, in place of the region; the caller draws the region again. */
  printAbove(text: string): void {
    this.#terminal.stdout.write(`${this.#erasure()}${text}\n`);
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

  /** Moves to the first row of what was drawn and clears to the end of the screen. */
  #erasure(): string {
    if (this.#drawn.length === 0) return '';
    const columns = Math.max(1, this.#terminal.stdout.columns);
    // A terminal made narrower since has wrapped the lines into more rows.
    const rows = this.#drawn.reduce((sum, line) => sum + Math.max(1, Math.ceil(lineWidth(line) / columns)), 0);
    return `\x1b[${rows}A\r\x1b[J`;
  }
}
