import { type Clock, WeftError } from '@weft/common';

interface Sleeper {
  readonly dueMs: number;
  readonly wake: () => void;
}

/** A clock that only a test advances. */
export class FakeClock implements Clock {
  readonly #startMs: number;
  #nowMs: number;
  #sleepers: Sleeper[] = [];

  constructor(startMs = Date.UTC(2026, 0, 1)) {
    this.#startMs = startMs;
    this.#nowMs = startMs;
  }

  nowMs(): number {
    return this.#nowMs;
  }

  monotonicMs(): number {
    return this.#nowMs - this.#startMs;
  }

  /** How many sleeps wait for the hands to move. */
  get sleeping(): number {
    return this.#sleepers.length;
  }

  sleep(durationMs: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const cancelled = () => {
        this.#sleepers = this.#sleepers.filter((other) => other !== sleeper);
        reject(new WeftError('cancelled', 'the wait was cancelled'));
      };
      const wake = () => {
        signal?.removeEventListener('abort', cancelled);
        resolve();
      };
      const sleeper: Sleeper = { dueMs: this.#nowMs + Math.max(durationMs, 0), wake };
      if (signal?.aborted) return cancelled();
      signal?.addEventListener('abort', cancelled, { once: true });
      this.#sleepers.push(sleeper);
    });
  }

  /**
   * Turns the hands forward. Sleeps that come due wake in the order of their time, each at its own moment,
   * and what they set going (new sleeps included) runs before the hands move on.
   */
  async advance(durationMs: number): Promise<void> {
    const targetMs = this.#nowMs + durationMs;
    await settled();
    for (let next = this.#next(targetMs); next !== undefined; next = this.#next(targetMs)) {
      const due = next;
      this.#sleepers = this.#sleepers.filter((sleeper) => sleeper !== due);
      this.#nowMs = due.dueMs;
      due.wake();
      await settled();
    }
    this.#nowMs = targetMs;
  }

  #next(targetMs: number): Sleeper | undefined {
    const due = this.#sleepers.filter((sleeper) => sleeper.dueMs <= targetMs);
    return due.reduce<Sleeper | undefined>(
      (first, sleeper) => (first === undefined || sleeper.dueMs < first.dueMs ? sleeper : first),
      undefined,
    );
  }
}

/** Everything that is ready to run has run. */
const settled = () => new Promise<void>((resolve) => setImmediate(resolve));
