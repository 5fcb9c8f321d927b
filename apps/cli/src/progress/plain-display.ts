import type { RunProgress } from '@weft/client';
import { type Clock, systemClock } from '@weft/common';
import type { MetricsRow } from '@weft/contracts';
import { say, type Terminal } from '../terminal.js';
import type { Display } from './display.js';
import { plainInterval, renderPlainStep } from './render-plain.js';

/** A slow run still says something this often. */
const LONGEST_SILENCE_MS = 30_000;

/** A run that waits longer than this says what it waits for. */
const LONGEST_WAIT_MS = 3000;

/** Lines for a log or a pipe: the first and the last step, a round number in between, and every event. */
export class PlainDisplay implements Display {
  readonly #terminal: Terminal;
  readonly #clock: Clock;
  #lastLineMs: number | undefined;
  #waiting: { readonly reason: string; readonly given: AbortController } | undefined;

  constructor(terminal: Terminal, clock: Clock = systemClock) {
    this.#terminal = terminal;
    this.#clock = clock;
  }

  event(text: string): void {
    say(this.#terminal, text);
  }

  step(progress: RunProgress, { step }: MetricsRow): void {
    const { steps } = progress.run;
    const isFirst = this.#lastLineMs === undefined;
    const silentMs = this.#clock.monotonicMs() - (this.#lastLineMs ?? 0);
    if (!isFirst && step !== steps && step % plainInterval(steps) !== 0 && silentMs < LONGEST_SILENCE_MS) return;
    this.#lastLineMs = this.#clock.monotonicMs();
    say(this.#terminal, renderPlainStep(progress.view(this.#clock.nowMs())));
  }

  refresh({ run: { status, reason } }: RunProgress): void {
    if (status === 'queued' && reason === this.#waiting?.reason) return;
    this.#waiting?.given.abort();
    this.#waiting = undefined;
    if (status !== 'queued' || reason === '') return;
    const given = new AbortController();
    this.#waiting = { reason, given };
    this.#clock.sleep(LONGEST_WAIT_MS, given.signal).then(
      () => this.event(`queued: ${reason}`),
      () => {},
    );
  }

  close(): void {
    this.#waiting?.given.abort();
    this.#waiting = undefined;
  }
}
