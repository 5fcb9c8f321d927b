/**
 * The queue as `decide` sees it: the jobs that have not ended. The store has the truth about who waits and in which
 * order; this is its last listing, with what was decided since.
 */
export interface QueueState {
  /** A person paused the whole queue: nothing starts. */
  readonly isPaused: boolean;
  /** Those at work first; then those that have not started, in the order they would start. */
  readonly jobs: readonly QueuedJob[];
}

/** One submission of a run, or a sweep. */
export interface QueuedJob {
  readonly id: string;
  readonly kind: 'run' | 'sweep';
  /** The run it stands for; of a sweep, its own id. */
  readonly runId: string;
  /** As in the store: `held` by a person, `delayed` until `notBeforeMs`, `active` at work. */
  readonly state: 'waiting' | 'delayed' | 'held' | 'waitingForChildren' | 'active';
  /** Higher starts first. */
  readonly priority: number;
  /** 0: at once. */
  readonly notBeforeMs: number;
  /** The sweep it belongs to. */
  readonly parent: string | null;
}

/** A job as it is handed to the store. */
export interface NewRunJob {
  readonly id: string;
  readonly runId: string;
  readonly priority: number;
  /** How often it may be tried in all. */
  readonly attempts: number;
  /** Between the first failure and the second attempt; doubles with each further one. */
  readonly backoffMs: number;
  /** 0: at once. */
  readonly notBeforeMs: number;
}

export const EMPTY_QUEUE: QueueState = { isPaused: false, jobs: [] };

/** The queue with a job at the end of its priority. */
export function withJob({ isPaused, jobs }: QueueState, job: QueuedJob): QueueState {
  const at = jobs.findIndex((other) => other.state !== 'active' && other.priority < job.priority);
  return { isPaused, jobs: jobs.toSpliced(at < 0 ? jobs.length : at, 0, job) };
}

/** The queue with a job that was at work in front of the others of its priority. */
export function withJobAgain({ isPaused, jobs }: QueueState, job: QueuedJob): QueueState {
  const at = jobs.findIndex((other) => other.state !== 'active' && other.priority <= job.priority);
  return { isPaused, jobs: jobs.toSpliced(at < 0 ? jobs.length : at, 0, job) };
}

/** The queue with a job behind the others that are at work. */
export function withJobAtWork({ isPaused, jobs }: QueueState, job: QueuedJob): QueueState {
  const at = jobs.findIndex(({ state }) => state !== 'active');
  return { isPaused, jobs: jobs.toSpliced(at < 0 ? jobs.length : at, 0, job) };
}

export function withoutJob({ isPaused, jobs }: QueueState, id: string): QueueState {
  return { isPaused, jobs: jobs.filter((job) => job.id !== id) };
}
