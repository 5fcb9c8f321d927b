import { sleep } from './async.js';

/** Time as a dependency, so that tests can control it. */
export interface Clock {
  /** Milliseconds since the Unix epoch. */
  nowMs(): number;
  /** Milliseconds from an arbitrary start; never goes back. */
  monotonicMs(): number;
  /** Resolves after `durationMs`; rejects with `cancelled` when `signal` aborts first. */
  sleep(durationMs: number, signal?: AbortSignal): Promise<void>;
}

export const systemClock: Clock = { nowMs: () => Date.now(), monotonicMs: () => performance.now(), sleep };
