import { systemClock } from '@weft/common';
import type { Destination, Job, JobQueue, NewJob } from './job-queue.js';
import * as rules from './queue-rules.js';
import { applyChanges, listJobs, type QueueChange, type QueueState, toJob, trim } from './queue-state.js';

/** Computes what a call changes, given the queue and the time of day. */
type Rule = (state: QueueState, nowMs: number) => readonly QueueChange[];

/**
 * Shared by all queues: one call at a time is checked by the rules against the queue in memory, then made durable by the
 * adapter, and only then applied in memory.
 */
export abstract class StoredQueue implements JobQueue {
  #state: QueueState;
  /** Whether the state in memory may differ from the stored one. */
  #inDoubt = false;
  #tail: Promise<unknown> = Promise.resolve();
  readonly #changes = new QueueChanges(() => nextDueMs(this.#state.jobs.values(), systemClock.nowMs()));

  protected constructor(state: QueueState) {
    this.#state = state;
  }

  /** Makes changes durable, all or none. @param next the queue after them */
  protected abstract write(changes: readonly QueueChange[], next: QueueState): Promise<void>;
  /** The stored queue. Called after a write that threw. */
  protected abstract load(): Promise<QueueState>;

  async add(job: NewJob): Promise<void> {
    await this.#change((state, nowMs) => rules.add(state, [job], nowMs));
  }

  async addFlow(parent: NewJob, children: readonly NewJob[]): Promise<void> {
    await this.#change((state, nowMs) => rules.add(state, children, nowMs, parent));
  }

  async list(): Promise<readonly Job[]> {
    return listJobs(this.#state.jobs, systemClock.nowMs());
  }

  async get(id: string): Promise<Job> {
    return toJob(this.#state.jobs, rules.find(this.#state, id), systemClock.nowMs());
  }

  async isPaused(): Promise<boolean> {
    return this.#state.paused;
  }

  async take(id: string): Promise<Job> {
    await this.#change((state, nowMs) => rules.take(state, id, nowMs));
    return this.get(id);
  }

  async complete(id: string, result: unknown): Promise<void> {
    await this.#change((state, nowMs) => rules.complete(state, id, result, nowMs));
  }

  async fail(id: string, reason: string): Promise<Job> {
    await this.#change((state, nowMs) => rules.fail(state, id, reason, nowMs));
    return this.get(id);
  }

  async requeue(id: string): Promise<void> {
    await this.#change((state, nowMs) => rules.requeue(state, id, nowMs));
  }

  async progress(id: string, value: unknown): Promise<void> {
    await this.#change((state, nowMs) => rules.progress(state, id, value, nowMs));
  }

  async move(id: string, to: Destination): Promise<void> {
    await this.#change((state, nowMs) => rules.move(state, id, to, nowMs));
  }

  async pause(id?: string): Promise<void> {
    await this.#change((state, nowMs) => rules.setPaused(state, id, true, nowMs));
  }

  async resume(id?: string): Promise<void> {
    await this.#change((state, nowMs) => rules.setPaused(state, id, false, nowMs));
  }

  async cancel(id: string, reason: string): Promise<readonly string[]> {
    const changes = await this.#change((state, nowMs) => rules.cancel(state, id, reason, nowMs));
    return changes.flatMap((change) => (change.kind === 'changed' ? change.id : []));
  }

  changes(signal: AbortSignal): AsyncIterable<void> {
    return this.#changes.follow(signal);
  }

  /** Waits for the current call and ends all followers. */
  async close(): Promise<void> {
    this.#changes.close();
    await this.#tail;
  }

  async #change(rule: Rule): Promise<readonly QueueChange[]> {
    const done = this.#tail.then(async () => {
      if (this.#inDoubt) this.#state = await this.load();
      this.#inDoubt = false;
      const changes = rule(this.#state, systemClock.nowMs());
      const changed = applyChanges(this.#state, changes);
      const forgotten = trim(changed);
      const next = applyChanges(changed, forgotten);
      this.#inDoubt = true;
      await this.write([...changes, ...forgotten], next);
      this.#inDoubt = false;
      this.#state = next;
      this.#changes.announce();
      return changes;
    });
    this.#tail = done.catch(() => {});
    return done;
  }
}

/** Longest sleep of a timer; a job may be due in a month. */
const LONGEST_SLEEP_MS = 3_600_000;

/** Wakes the followers of a queue at every change, and when a delayed job falls due. */
class QueueChanges {
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
function nextDueMs(jobs: Iterable<{ phase: string; notBeforeMs: number }>, nowMs: number): number | undefined {
  let next: number | undefined;
  for (const { phase, notBeforeMs } of jobs)
    if (phase === 'queued' && notBeforeMs > nowMs && (next === undefined || notBeforeMs < next)) next = notBeforeMs;
  return next;
}
