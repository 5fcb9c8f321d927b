import type { RunProgress } from '@weft/client';
import { type Clock, systemClock } from '@weft/common';
import type { Terminal } from '../terminal.js';
import type { Display } from './display.js';
import { RedrawnBlock } from './redrawn-block.js';
import { renderBlock } from './render-bar.js';

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
  readonly #block: RedrawnBlock;
  #drawnAtMs = Number.NEGATIVE_INFINITY;

  constructor(terminal: Terminal, clock: Clock = systemClock) {
    this.#terminal = terminal;
    this.#block = new RedrawnBlock(terminal);
    this.#clock = clock;
    this.#ticker = setInterval(() => this.#redraw(), TICK_MS);
    this.#ticker.unref();
  }

  event(text: string): void {
    this.#block.writeAbove(text);
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
    this.#block.leave();
  }

  #redraw(): void {
    if (this.#progress === undefined) return;
    // One column stays free: a line that fills the last one wraps on some terminals.
    const columns = Math.max(10, this.#terminal.stdout.columns - 1);
    this.#block.draw(renderBlock(this.#progress.view(this.#clock.nowMs()), columns));
    this.#drawnAtMs = this.#clock.monotonicMs();
  }
}
