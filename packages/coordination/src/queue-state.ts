import type { RunState } from './run-state.js';

/**
 * The queue as `decide` sees it: the jobs that have not ended. The store owns the order of the jobs; this is its last
 * listing, with the changes that were decided since.
 */
export interface QueueState {
  /** A person paused the whole queue: nothing starts. */
  readonly isPaused: boolean;
  /** First the active jobs; then those that have not started, in the order they would start. */
  readonly jobs: readonly QueuedJob[];
}

/** One submission of a run, or a sweep. */
export interface QueuedJob {
  readonly id: string;
  readonly kind: 'run' | 'sweep';
  /** The run of the job; of a sweep, its own id. */
  readonly runId: string;
  /** `paused` by a person; `delayed` until `notBeforeMs`; `active`: the run has its workers. */
  readonly state: 'waiting' | 'delayed' | 'paused' | 'waitingForChildren' | 'active';
  /** Higher starts first. */
  readonly priority: number;
  /** Milliseconds since the epoch; 0: at once. */
  readonly notBeforeMs: number;
  /** The sweep it belongs to. */
  readonly parent: string | null;
}

/** A job to be added to the store. */
export interface NewRunJob {
  readonly id: string;
  readonly runId: string;
  readonly priority: number;
  /** How often it may be tried in all. */
  readonly attempts: number;
  /** Between the first failure and the second attempt; doubles with each further one. */
  readonly backoffMs: number;
  /** Milliseconds since the epoch; 0: at once. */
  readonly notBeforeMs: number;
}

/** A queue without jobs that is not paused. */
export const EMPTY_QUEUE: QueueState = { isPaused: false, jobs: [] };

/** The queue with a job at the end of its priority. */
export function withJob({ isPaused, jobs }: QueueState, job: QueuedJob): QueueState {
  const index = jobs.findIndex((other) => other.state !== 'active' && other.priority < job.priority);
  return { isPaused, jobs: jobs.toSpliced(index < 0 ? jobs.length : index, 0, job) };
}

/** The queue with a job that was active in front of the others of its priority. */
export function withJobRequeued({ isPaused, jobs }: QueueState, job: QueuedJob): QueueState {
  const index = jobs.findIndex((other) => other.state !== 'active' && other.priority <= job.priority);
  return { isPaused, jobs: jobs.toSpliced(index < 0 ? jobs.length : index, 0, job) };
}

/** The queue with a job behind the other active ones. */
export function withJobActive({ isPaused, jobs }: QueueState, job: QueuedJob): QueueState {
  const index = jobs.findIndex(({ state }) => state !== 'active');
  return { isPaused, jobs: jobs.toSpliced(index < 0 ? jobs.length : index, 0, job) };
}

/** The queue without a job. */
export function withoutJob({ isPaused, jobs }: QueueState, id: string): QueueState {
  return { isPaused, jobs: jobs.filter((job) => job.id !== id) };
}

/** The job of a run as it is submitted now. */
export function createRunJob(run: Pick<RunState, 'runId' | 'config' | 'resubmissions'>): NewRunJob {
  const { runId, config } = run;
  const { priority, maxAttempts, backoffSeconds, notBefore } = config.queue;
  return {
    id: runJobId(run),
    runId,
    priority,
    attempts: maxAttempts,
    backoffMs: backoffSeconds * 1000,
    notBeforeMs: notBefore === null ? 0 : Date.parse(notBefore),
  };
}

/**
 * The id of a run's job. A job ends once: a run that is resumed after its end gets another one.
 * No run id holds a dot, so the run can be read from the job id.
 */
export function runJobId({ runId, resubmissions }: Pick<RunState, 'runId' | 'resubmissions'>): string {
  return resubmissions === 0 ? `run.${runId}` : `run.${runId}.${resubmissions + 1}`;
}

/** The id of a sweep's parent job. */
export function sweepJobId(sweepId: string): string {
  return `sweep.${sweepId}`;
}

/** The id of the run or of the sweep that a job belongs to. */
export function jobOwner(jobId: string): string {
  return jobId.split('.')[1] ?? jobId;
}
