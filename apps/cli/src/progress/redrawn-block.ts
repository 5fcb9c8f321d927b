import { type Line, paint, widthOf } from '../spans.js';
import type { Terminal } from '../terminal.js';

/** Lines at the bottom of a terminal that are drawn again in place, while other lines scroll by above them. */
export class RedrawnBlock {
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

  /** Writes a line where the block stood; the block has to be drawn again. */
  writeAbove(text: string): void {
    this.#terminal.stdout.write(`${this.#erasure()}${text}\n`);
    this.#drawn = [];
  }

  /** Takes away what is drawn. */
  erase(): void {
    this.draw([]);
  }

  /** Leaves what is drawn standing. */
  leave(): void {
    this.#drawn = [];
  }

  /** Moves to the first row of what was drawn and clears to the end of the screen. */
  #erasure(): string {
    if (this.#drawn.length === 0) return '';
    const columns = Math.max(1, this.#terminal.stdout.columns);
    // A terminal made narrower since has wrapped the lines into more rows.
    const rows = this.#drawn.reduce((sum, line) => sum + Math.max(1, Math.ceil(widthOf(line) / columns)), 0);
    return `\x1b[${rows}A\r\x1b[J`;
  }
}
