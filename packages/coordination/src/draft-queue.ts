import type { Command } from './commands.js';
import { jobIdOf } from './job-id.js';
import {
  type NewRunJob,
  type QueuedJob,
  type QueueState,
  withJob,
  withJobAgain,
  withJobAtWork,
  withoutJob,
} from './queue-state.js';
import type { RunState } from './run-state.js';

/**
 * The queue in a decision: every change is a command to the store, and what the store will make of it is foreseen, so
 * that the same decision can go on from there.
 */
export class DraftQueue {
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

  /** What the store says now. */
  replace(state: QueueState): void {
    this.#state = state;
    this.#byRun = undefined;
  }

  /** The job of a run that has not ended. */
  jobOf(runId: string): QueuedJob | undefined {
    this.#byRun ??= new Map(this.#state.jobs.map((job) => [job.runId, job]));
    return this.#byRun.get(runId);
  }

  /** The runs at work, in the order they were taken. */
  get activeRunIds(): readonly string[] {
    return this.#state.jobs.flatMap(({ state, runId }) => (state === 'active' ? runId : []));
  }

  /** Queues a run; one whose job is there already stays where it is. */
  add(run: RunState, nowMs: number): void {
    if (this.jobOf(run.runId) !== undefined) return;
    const job = newJobOf(run);
    this.#command({ kind: 'enqueue', job });
    const { id, runId, priority, notBeforeMs } = job;
    const state = notBeforeMs > nowMs ? 'delayed' : 'waiting';
    this.replace(withJob(this.#state, { id, kind: 'run', runId, state, priority, notBeforeMs, parent: run.parent }));
  }

  /** A run goes to work. */
  take(runId: string): void {
    const job = this.jobOf(runId);
    if (job === undefined || job.state === 'active') return;
    this.#command({ kind: 'takeJob', jobId: job.id, runId });
    this.replace(withJobAtWork(withoutJob(this.#state, job.id), { ...job, state: 'active' }));
  }

  /** A run at work has to wait again, in front of the others of its priority. */
  requeue(runId: string): void {
    const job = this.jobOf(runId);
    if (job?.state !== 'active') return;
    this.#command({ kind: 'requeueJob', jobId: job.id, runId });
    this.replace(withJobAgain(withoutJob(this.#state, job.id), { ...job, state: 'waiting' }));
  }

  /** An attempt of a run at work failed, and there is another one from `retryAtMs` on. */
  retry(runId: string, reason: string, retryAtMs: number): void {
    const job = this.jobOf(runId);
    if (job?.state !== 'active') return;
    this.#command({ kind: 'failJob', jobId: job.id, runId, reason });
    const delayed: QueuedJob = { ...job, state: 'delayed', notBeforeMs: retryAtMs };
    this.replace(withJob(withoutJob(this.#state, job.id), delayed));
  }

  /** A run has ended. One that failed for good is cancelled: to the store, attempts may be left. */
  end(runId: string, end: { readonly kind: 'completed'; readonly result: unknown } | EndedOtherwise): void {
    const job = this.jobOf(runId);
    if (job === undefined) return;
    this.replace(withoutJob(this.#state, job.id));
    if (end.kind === 'completed' && job.state === 'active')
      this.#command({ kind: 'completeJob', jobId: job.id, runId, result: end.result });
    else if (end.kind === 'failed' && end.isLastAttempt && job.state === 'active')
      this.#command({ kind: 'failJob', jobId: job.id, runId, reason: end.reason });
    else
      this.#command({ kind: 'cancelJob', jobId: job.id, runId, reason: 'reason' in end ? end.reason : 'it has ended' });
  }
}

type EndedOtherwise =
  | { readonly kind: 'cancelled'; readonly reason: string }
  | { readonly kind: 'failed'; readonly reason: string; readonly isLastAttempt: boolean };

/** The job of a run as it is submitted now. */
export function newJobOf(run: Pick<RunState, 'runId' | 'config' | 'resubmissions'>): NewRunJob {
  const { runId, config } = run;
  const { priority, maxAttempts, backoffSeconds, notBefore } = config.queue;
  return {
    id: jobIdOf(run),
    runId,
    priority,
    attempts: maxAttempts,
    backoffMs: backoffSeconds * 1000,
    notBeforeMs: notBefore === null ? 0 : Date.parse(notBefore),
  };
}
