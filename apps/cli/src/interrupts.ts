import { EXIT } from './report-error.js';

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;

/** Two signals closer than this are one key press that arrived twice, as npm and npx make of it. */
const SAME_PRESS_MS = 250;

/**
 * Ctrl-C, or a polite `kill`, while a command works: the first asks it to come to an end, the second does not wait.
 * Made at the beginning of a command, so that there is no moment in which a signal would simply kill it.
 */
export class Interrupts {
  readonly #first = new AbortController();
  #firstAtMs = 0;
  #beforeLeaving: () => void = () => {};

  constructor() {
    for (const signal of SIGNALS) process.on(signal, this.#handle);
  }

  /** Aborts at the first interrupt. */
  get first(): AbortSignal {
    return this.#first.signal;
  }

  /** What is done at the second one, right before the process leaves. */
  beforeLeaving(action: () => void): void {
    this.#beforeLeaving = action;
  }

  close(): void {
    for (const signal of SIGNALS) process.off(signal, this.#handle);
  }

  readonly #handle = () => {
    if (!this.first.aborted) {
      this.#firstAtMs = performance.now();
      this.#first.abort();
    } else if (performance.now() - this.#firstAtMs > SAME_PRESS_MS) {
      this.#beforeLeaving();
      process.exit(EXIT.stopped);
    }
  };
}
