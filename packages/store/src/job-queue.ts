/** A run, or a sweep whose children are runs. */
export type JobKind = 'run' | 'sweep';

/**
 * - `waiting`: may start.
 * - `delayed`: not before `notBeforeMs`.
 * - `paused`: a person has paused it.
 * - `waitingForChildren`: a sweep with children that have not ended.
 * - `active`: taken, and not ended yet; also after the coordinator that took it is dead.
 * - `completed`, `failed`, `cancelled`: ended, for good.
 */
export type JobState =
  | 'waiting'
  | 'delayed'
  | 'paused'
  | 'waitingForChildren'
  | 'active'
  | 'completed'
  | 'failed'
  | 'cancelled';

/** A job to be added. */
export interface NewJob {
  /** A run id. */
  readonly id: string;
  readonly kind: JobKind;
  /** Any JSON value; opaque to the queue. */
  readonly data: unknown;
  /** An integer from −1,000,000 to 1,000,000; higher starts first. Default 0. */
  readonly priority?: number;
  /** Attempts in all, from 1. Default 1. */
  readonly attempts?: number;
  /** Milliseconds between the first failure and the second attempt; doubles with each further one. Default 10,000. */
  readonly backoffMs?: number;
  /** Milliseconds since the epoch before which it does not start; 0 (default): at once. */
  readonly notBeforeMs?: number;
}

/** A job as the queue lists it. */
export interface Job extends Required<NewJob> {
  readonly state: JobState;
  /** The id of the sweep it belongs to. */
  readonly parent: string | null;
  /** The ids of its children, in the order they were added. */
  readonly children: readonly string[];
  /** Attempts that failed. */
  readonly failedAttempts: number;
  /** Why the last attempt failed, or why it was cancelled. */
  readonly reason: string | null;
  /** The last value given to `progress`; null before. */
  readonly progress: unknown;
  /** The value given to `complete`; null before. */
  readonly result: unknown;
  readonly addedAtMs: number;
  /** When it was last taken. */
  readonly startedAtMs: number | null;
  readonly endedAtMs: number | null;
}

/** Where a job is moved. Before or after a job, it gets that job's priority. */
export type Destination = { readonly priority: number } | { readonly before: string } | { readonly after: string };

/**
 * Runs that wait, run or have ended. The queue keeps order and state. The coordinator, which knows the idle workers,
 * chooses the job that starts with `take`.
 *
 * Every change is durable when its promise resolves, and is refused with `failed_precondition` once another process has the
 * lease. A call waits while the store does not answer, and is not executed twice when an answer was lost. An unknown id is
 * `not_found`; a change that does not fit the job's state is `failed_precondition`.
 */
export interface JobQueue {
  /** Adds a job at the end of its priority. An id that is there already is `already_exists`. */
  add(job: NewJob): Promise<void>;
  /** Adds a parent that waits until all of its children have ended in any way, and the children, all or none. */
  addFlow(parent: NewJob, children: readonly NewJob[]): Promise<void>;

  /**
   * Every job: active ones first (in the order they were taken), then those that have not started in the order they
   * would start, then the ended ones (the latest first; the newest 1,000 are kept, and all children of a living parent).
   */
  list(): Promise<readonly Job[]>;
  get(id: string): Promise<Job>;
  /** Whether the whole queue is paused. */
  isPaused(): Promise<boolean>;

  /** waiting → active. Refused while the whole queue is paused. */
  take(id: string): Promise<Job>;
  /** active → completed. */
  complete(id: string, result: unknown): Promise<void>;
  /** active → delayed with exponential back-off while attempts are left, else → failed. Returns the job as it is then. */
  fail(id: string, reason: string): Promise<Job>;
  /** active → waiting, in front of the others of its priority; not an attempt (preemption). */
  requeue(id: string): Promise<void>;
  /** Stores a value with an active job, for people and for the next coordinator. */
  progress(id: string, value: unknown): Promise<void>;

  /** Moves a job that has not started. With a priority: to the end of that priority. */
  move(id: string, to: Destination): Promise<void>;
  /** A job that has not started → paused; without id: nothing more is taken from the queue. */
  pause(id?: string): Promise<void>;
  /** Reverts `pause`. */
  resume(id?: string): Promise<void>;
  /**
   * Any job that has not ended → cancelled, with all children that have not ended. For an active one: stop its run first.
   * Returns the ids it cancelled.
   */
  cancel(id: string, reason: string): Promise<readonly string[]>;

  /**
   * Yields at once, and then whenever `list()` may have changed: a call, or a delayed job that falls due. Several
   * changes may be one yield. Ends when `signal` aborts.
   */
  changes(signal: AbortSignal): AsyncIterable<void>;
}
