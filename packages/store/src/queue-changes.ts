import { systemClock } from '@weft/common';

/** Longest sleep of a timer; a job may be due in a month. */
const LONGEST_SLEEP_MS = 3_600_000;

/** Wakes those who follow a queue: at every change, and when a delayed job falls due. */
export class QueueChanges {
  readonly #wake = new Set<() => void>();
  readonly #nextDueMs: () => number | undefined;
  readonly #closed = new AbortController();

  /** @param nextDueMs when the next delayed job falls due, milliseconds since the epoch. */
  constructor(nextDueMs: () => number | undefined) {
    this.#nextDueMs = nextDueMs;
  }

  announce(): void {
    for (const wake of this.#wake) wake();
  }

  /** Ends all followers. */
  close(): void {
    this.#closed.abort();
  }

  async *follow(signal: AbortSignal): AsyncGenerator<void> {
    const ended = AbortSignal.any([signal, this.#closed.signal]);
    let changed = true;
    let rouse = new AbortController();
    const wake = () => {
      changed = true;
      rouse.abort();
    };
    this.#wake.add(wake);
    try {
      while (!ended.aborted) {
        if (changed) {
          changed = false;
          yield;
          continue;
        }
        rouse = new AbortController();
        const nowMs = systemClock.nowMs();
        const dueMs = this.#nextDueMs() ?? Number.POSITIVE_INFINITY;
        const sleepMs = Math.min(Math.max(dueMs - nowMs, 0), LONGEST_SLEEP_MS);
        await systemClock.sleep(sleepMs, AbortSignal.any([ended, rouse.signal])).catch(() => {});
        if (systemClock.nowMs() >= dueMs) changed = true;
      }
    } finally {
      this.#wake.delete(wake);
    }
  }
}

/** When the next delayed job falls due. */
export function nextDueMs(jobs: Iterable<{ phase: string; notBeforeMs: number }>, nowMs: number): number | undefined {
  let next: number | undefined;
  for (const { phase, notBeforeMs } of jobs)
    if (phase === 'queued' && notBeforeMs > nowMs && (next === undefined || notBeforeMs < next)) next = notBeforeMs;
  return next;
}
