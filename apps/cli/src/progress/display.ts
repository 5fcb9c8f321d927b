import type { RunObserver, RunProgress } from '@weft/client';
import { type Clock, systemClock } from '@weft/common';
import type { MetricsRow } from '@weft/contracts';
import type { Line } from '../styled-lines.js';
import { print, printJson, type Terminal } from '../terminal.js';
import { LiveRegion } from './live-region.js';
import { plainInterval, renderBlock, renderPlainStep } from './render-progress.js';

/** Shows the progress of a run: redrawn in a terminal, as lines in a log, or as JSON for a program. */
export interface Display extends RunObserver {
  /** Leaves the terminal clean for what is printed next. */
  close(): void;
}

/** Draws a run: no line wider than `columns`, at most `rows` of them. */
export type RenderProgress = (progress: RunProgress, nowMs: number, columns: number, rows: number) => readonly Line[];

const renderShort: RenderProgress = (progress, nowMs, columns) => renderBlock(progress.view(nowMs), columns);

/** The display that fits the terminal and `--json`. @param render what a terminal shows; default: a block of at most five lines */
export function createDisplay(
  terminal: Terminal,
  options: { json: boolean },
  render: RenderProgress = renderShort,
): Display {
  if (options.json) return new JsonDisplay(terminal);
  const canRedraw = terminal.stdout.isTTY && terminal.env.TERM !== 'dumb';
  return canRedraw ? new TerminalDisplay(terminal, systemClock, render) : new PlainDisplay(terminal);
}

/** One JSON object per line: `{type: 'step', …}`, `{type: 'event', …}`; the caller adds the first and the last. */
class JsonDisplay implements Display {
  readonly #terminal: Terminal;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  event(message: string): void {
    printJson(this.#terminal, { type: 'event', message });
  }

  step({ run }: RunProgress, metrics: MetricsRow): void {
    printJson(this.#terminal, { type: 'step', runId: run.runId, steps: run.steps, ...metrics });
  }

  refresh(): void {}

  close(): void {}
}

/** A slow run prints a line at least this often. */
const LONGEST_SILENCE_MS = 30_000;

/** A run that waits longer than this prints what it waits for. */
const LONGEST_WAIT_MS = 3000;

/** Lines for a log or a pipe: the first and the last step, a round number in between, and every event. */
export class PlainDisplay implements Display {
  readonly #terminal: Terminal;
  readonly #clock: Clock;
  #lastLineMs: number | undefined;
  #waiting: { readonly reason: string; readonly timer: AbortController } | undefined;

  constructor(terminal: Terminal, clock: Clock = systemClock) {
    this.#terminal = terminal;
    this.#clock = clock;
  }

  event(text: string): void {
    print(this.#terminal, text);
  }

  step(progress: RunProgress, { step }: MetricsRow): void {
    const { steps } = progress.run;
    const isFirst = this.#lastLineMs === undefined;
    const silentMs = this.#clock.monotonicMs() - (this.#lastLineMs ?? 0);
    if (!isFirst && step !== steps && step % plainInterval(steps) !== 0 && silentMs < LONGEST_SILENCE_MS) return;
    this.#lastLineMs = this.#clock.monotonicMs();
    print(this.#terminal, renderPlainStep(progress.view(this.#clock.nowMs())));
  }

  refresh({ run: { status, reason } }: RunProgress): void {
    if (status === 'queued' && reason === this.#waiting?.reason) return;
    this.#waiting?.timer.abort();
    this.#waiting = undefined;
    if (status !== 'queued' || reason === '') return;
    const timer = new AbortController();
    this.#waiting = { reason, timer };
    this.#clock.sleep(LONGEST_WAIT_MS, timer.signal).then(
      () => this.event(`queued: ${reason}`),
      () => {},
    );
  }

  close(): void {
    this.#waiting?.timer.abort();
    this.#waiting = undefined;
  }
}

/** The time left is redrawn between steps too. */
const TICK_MS = 1000;
/** Faster steps are drawn together. */
const SHORTEST_REDRAW_MS = 80;

/** Lines at the bottom of a terminal, redrawn in place; events scroll by above them. */
export class TerminalDisplay implements Display {
  readonly #terminal: Terminal;
  readonly #clock: Clock;
  readonly #render: RenderProgress;
  readonly #ticker: NodeJS.Timeout;
  #progress: RunProgress | undefined;
  readonly #region: LiveRegion;
  #drawnAtMs = Number.NEGATIVE_INFINITY;

  constructor(terminal: Terminal, clock: Clock = systemClock, render: RenderProgress = renderShort) {
    this.#terminal = terminal;
    this.#render = render;
    this.#region = new LiveRegion(terminal);
    this.#clock = clock;
    this.#ticker = setInterval(() => this.#redraw(), TICK_MS);
    this.#ticker.unref();
  }

  event(text: string): void {
    this.#region.printAbove(text);
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

  /** Draws the last state once more and keeps it on the screen. */
  close(): void {
    clearInterval(this.#ticker);
    this.#redraw();
    this.#progress = undefined;
    this.#region.keep();
  }

  #redraw(): void {
    if (this.#progress === undefined) return;
    // One column stays free: a line that fills the last one wraps on some terminals.
    const columns = Math.max(10, this.#terminal.stdout.columns - 1);
    // The cursor stands in the row below.
    const rows = Math.max(4, this.#terminal.stdout.rows - 1);
    this.#region.draw(this.#render(this.#progress, this.#clock.nowMs(), columns, rows));
    this.#drawnAtMs = this.#clock.monotonicMs();
  }
}
