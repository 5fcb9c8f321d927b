import type { RunProgress } from '@weft/client';
import type { MetricsRow } from '@weft/contracts';
import { say, type Terminal } from '../terminal.js';
import type { Display } from './display.js';

/** One JSON object per line: `{type: 'step', …}`, `{type: 'event', …}`; the caller adds the first and the last. */
export class JsonDisplay implements Display {
  readonly #terminal: Terminal;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  event(message: string): void {
    this.#print({ type: 'event', message });
  }

  step({ run }: RunProgress, metrics: MetricsRow): void {
    this.#print({ type: 'step', runId: run.runId, steps: run.steps, ...metrics });
  }

  refresh(): void {}

  close(): void {}

  #print(value: object): void {
    say(this.#terminal, JSON.stringify(value));
  }
}
