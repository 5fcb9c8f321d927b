import { EXIT } from './report-error.js';

/** SIGHUP comes when the terminal or the connection to it is gone: the work is then to be saved, not lost. */
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** npm and npx pass on the Ctrl-C that the terminal also sent: two signals closer than this are one key press. */
const SAME_PRESS_MS = 250;

/**
 * Handles SIGINT, SIGTERM and SIGHUP while a command works: the first asks it to end, the second ends it at once. A shell and
 * the kernel both send SIGHUP, so that only asks. Create it at the beginning of a command.
 */
export class Interrupts {
  readonly #first = new AbortController();
  #firstAtMs = 0;
  #beforeExit: () => void = () => {};

  constructor() {
    for (const signal of SIGNALS) process.on(signal, this.#handle);
  }

  /** Aborts at the first interrupt. */
  get first(): AbortSignal {
    return this.#first.signal;
  }

  /** Sets the action for the second interrupt, right before the process exits. */
  beforeExit(action: () => void): void {
    this.#beforeExit = action;
  }

  close(): void {
    for (const signal of SIGNALS) process.off(signal, this.#handle);
  }

  readonly #handle = (signal: NodeJS.Signals) => {
    if (!this.first.aborted) {
      this.#firstAtMs = performance.now();
      this.#first.abort();
    } else if (signal !== 'SIGHUP' && performance.now() - this.#firstAtMs > SAME_PRESS_MS) {
      this.#beforeExit();
      process.exit(EXIT.stopped);
    }
  };
}
