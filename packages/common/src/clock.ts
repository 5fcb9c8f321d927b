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

/** A worker that sends nothing for this long is lost, unless its coordinator is told otherwise. */
export const HEARTBEAT_TIMEOUT_MS = 10_000;

export const systemClock: Clock = { nowMs: () => Date.now(), monotonicMs: () => performance.now(), sleep };
