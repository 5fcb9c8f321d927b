import { type Clock, systemClock } from '@weft/common';
import { type Line, paint, widthOf } from '../spans.js';
import type { Terminal } from '../terminal.js';
import type { Display } from './display.js';
import { renderBlock } from './render-bar.js';
import type { RunProgress } from './run-progress.js';

/** The clock of the time left ticks even between steps. */
const TICK_MS = 1000;
/** Steps faster than this are drawn together. */
const SHORTEST_REDRAW_MS = 80;

/** A block of lines at the bottom of a terminal, redrawn in place; events scroll by above it. */
export class TerminalDisplay implements Display {
  readonly #terminal: Terminal;
  readonly #clock: Clock;
  readonly #ticker: NodeJS.Timeout;
  #progress: RunProgress | undefined;
  #drawn: readonly Line[] = [];
  #drawnAtMs = Number.NEGATIVE_INFINITY;

  constructor(terminal: Terminal, clock: Clock = systemClock) {
    this.#terminal = terminal;
    this.#clock = clock;
    this.#ticker = setInterval(() => this.#redraw(), TICK_MS);
    this.#ticker.unref();
  }

  event(text: string): void {
    this.#terminal.stdout.write(`${this.#erasure()}${text}\n`);
    this.#drawn = [];
    this.#redraw();
  }

  step(progress: RunProgress): void {
    this.#progress = progress;
    const isLast = progress.run.step >= progress.run.steps;
    if (isLast || this.#clock.monotonicMs() - this.#drawnAtMs >= SHORTEST_REDRAW_MS) this.#redraw();
  }

  refresh(progress: RunProgress): void {
    this.#progress = progress;
    this.#redraw();
  }

  /** Draws the last state once more and leaves it standing. */
  close(): void {
    clearInterval(this.#ticker);
    this.#redraw();
    this.#progress = undefined;
    this.#drawn = [];
  }

  #redraw(): void {
    if (this.#progress === undefined) return;
    const { stdout, colors } = this.#terminal;
    // One column stays free: a line that fills the last one wraps on some terminals.
    const lines = renderBlock(this.#progress.view(this.#clock.nowMs()), Math.max(10, stdout.columns - 1));
    stdout.write(this.#erasure() + lines.map((line) => `${paint(line, colors)}\n`).join(''));
    this.#drawn = lines;
    this.#drawnAtMs = this.#clock.monotonicMs();
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
