import type { Command } from './commands.js';
import {
  createRunJob,
  type QueuedJob,
  type QueueState,
  withJob,
  withJobActive,
  withJobRequeued,
  withoutJob,
} from './queue-state.js';
import type { RunState } from './run-state.js';

/**
 * The queue within a decision. Every change is a command to the store, and is applied here the way the store will apply
 * it, so the rest of the decision sees it.
 */
export class QueueBuilder {
  #state: QueueState;
  #byRun: ReadonlyMap<string, QueuedJob> | undefined;
  readonly #command: (command: Command) => void;

  constructor(state: QueueState, command: (command: Command) => void) {
    this.#state = state;
    this.#command = command;
  }

  get state(): QueueState {
    return this.#state;
  }

  /** Takes over a listing of the store. */
  replace(state: QueueState): void {
    this.#state = state;
    this.#byRun = undefined;
  }

  /** The job of a run that has not ended. */
  jobOf(runId: string): QueuedJob | undefined {
    this.#byRun ??= new Map(this.#state.jobs.map((job) => [job.runId, job]));
    return this.#byRun.get(runId);
  }

  /** The runs with workers, in the order they started. */
  get activeRunIds(): readonly string[] {
    const { jobs } = this.#state;
    const end = jobs.findIndex(({ state }) => state !== 'active');
    return jobs.slice(0, end < 0 ? jobs.length : end).map(({ runId }) => runId);
  }

  /** Queues a run. Does nothing when its job is in the queue already. */
  add(run: RunState, nowMs: number): void {
    if (this.jobOf(run.runId) !== undefined) return;
    const job = createRunJob(run);
    this.#command({ kind: 'enqueue', job });
    const { id, runId, priority, notBeforeMs } = job;
    const state = notBeforeMs > nowMs ? 'delayed' : 'waiting';
    this.replace(withJob(this.#state, { id, kind: 'run', runId, state, priority, notBeforeMs, parent: run.parent }));
  }

  /** A run starts. */
  take(runId: string): void {
    const job = this.jobOf(runId);
    if (job === undefined || job.state === 'active') return;
    this.#command({ kind: 'takeJob', jobId: job.id, runId });
    this.replace(withJobActive(withoutJob(this.#state, job.id), { ...job, state: 'active' }));
  }

  /** An active run has to wait again, in front of the others of its priority. */
  requeue(runId: string): void {
    const job = this.jobOf(runId);
    if (job?.state !== 'active') return;
    this.#command({ kind: 'requeueJob', jobId: job.id, runId });
    this.replace(withJobRequeued(withoutJob(this.#state, job.id), { ...job, state: 'waiting' }));
  }

  /** An attempt of an active run failed; the next may start from `retryAtMs` on. */
  retry(runId: string, reason: string, retryAtMs: number): void {
    const job = this.jobOf(runId);
    if (job?.state !== 'active') return;
    this.#command({ kind: 'failJob', jobId: job.id, runId, reason });
    const delayed: QueuedJob = { ...job, state: 'delayed', notBeforeMs: retryAtMs };
    this.replace(withJob(withoutJob(this.#state, job.id), delayed));
  }

  /** A run has ended. One that failed for good with attempts left is cancelled: the store would try it again. */
  end(runId: string, end: JobEnd): void {
    const job = this.jobOf(runId);
    if (job === undefined) return;
    const { id, state } = job;
    this.replace(withoutJob(this.#state, id));
    if (end.kind === 'completed' && state === 'active')
      this.#command({ kind: 'completeJob', jobId: id, runId, result: end.result });
    else if (end.kind === 'failed' && end.isLastAttempt && state === 'active')
      this.#command({ kind: 'failJob', jobId: id, runId, reason: end.reason });
    else this.#command({ kind: 'cancelJob', jobId: id, runId, reason: 'reason' in end ? end.reason : 'it has ended' });
  }
}

type JobEnd =
  | { readonly kind: 'completed'; readonly result: unknown }
  | { readonly kind: 'cancelled'; readonly reason: string }
  | { readonly kind: 'failed'; readonly reason: string; readonly isLastAttempt: boolean };
