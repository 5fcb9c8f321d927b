import { WeftError } from '@weft/common';
import { hasEnded } from '@weft/contracts';
import { describeRun, forecastQueue, type QueuedJob, type RunDescription } from '@weft/coordination';
import {
  type CancelJobRequest,
  JobKind,
  JobState,
  type MoveInQueueRequest,
  type PauseQueueRequest,
  type QueueChanged,
  type QueueEntry,
  type QueuePage,
  type ShowQueueRequest,
} from '@weft/proto';
import type { Destination, JobQueue } from '@weft/store';
import type { DecisionQueue } from './decision-queue.js';
import { queueListing } from './queue-jobs.js';
import { paginate } from './request-parsing.js';

interface QueueRequestsOptions {
  readonly queue: DecisionQueue;
  readonly jobs: JobQueue;
  /** @throws WeftError `unavailable` while the store does not answer. */
  readonly requireStore: () => void;
}

/** The requests of `weft queue`. */
export class QueueRequests {
  readonly #options: QueueRequestsOptions;

  constructor(options: QueueRequestsOptions) {
    this.#options = options;
  }

  /** A page of the jobs that have not ended: first the active ones, then the others in their order. */
  show({ pageToken }: ShowQueueRequest): QueuePage {
    const { state } = this.#options.queue;
    const { page, nextPageToken } = paginate(state.queue.jobs, ({ id }) => id, pageToken);
    const idle = state.workers.values().filter(({ runId }) => runId === undefined).length;
    return {
      entries: page.flatMap((job) => this.#toEntry(job) ?? []),
      nextPageToken,
      paused: state.queue.isPaused,
      workersConnected: state.workers.size,
      workersIdle: idle,
    };
  }

  /** @throws `not_found`, `failed_precondition` for an active run, `invalid_argument` without a destination. */
  async move({ id, to }: MoveInQueueRequest): Promise<QueueEntry> {
    const destination = this.#destination(to);
    const job = this.#findWaiting(id, 'moved');
    await this.#change(() => this.#options.jobs.move(job.id, destination));
    const entry = this.#toEntry(this.#find(id));
    if (entry === undefined) throw new WeftError('not_found', `${id} has left the queue meanwhile`);
    return entry;
  }

  /** @throws `not_found`, `failed_precondition` for an active run. */
  async pause({ id }: PauseQueueRequest): Promise<QueueChanged> {
    const job = id === '' ? undefined : this.#findWaiting(id, 'paused');
    await this.#change(() => this.#options.jobs.pause(job?.id));
    return this.#answer(id === '' ? [] : [id]);
  }

  /** @throws `not_found`, `failed_precondition` for an active run. */
  async resume({ id }: PauseQueueRequest): Promise<QueueChanged> {
    const job = id === '' ? undefined : this.#findWaiting(id, 'resumed');
    await this.#change(() => this.#options.jobs.resume(job?.id));
    return this.#answer(id === '' ? [] : [id]);
  }

  /** An active run ends after its current step; the children of a sweep end at once. @throws `not_found`. */
  async cancel({ id }: CancelJobRequest): Promise<QueueChanged> {
    const { jobs, queue, requireStore } = this.#options;
    requireStore();
    const job = this.#find(id);
    if (job.kind === 'run') {
      await queue.submit({ kind: 'stop', runId: id, saveCheckpoint: true });
      return this.#answer([id]);
    }
    const children = queue.state.queue.jobs.filter(({ parent }) => parent === id).map(({ runId }) => runId);
    for (const runId of children) {
      const state = queue.state.runs.get(runId)?.state;
      if (state !== undefined && !hasEnded(state)) await queue.submit({ kind: 'stop', runId, saveCheckpoint: false });
    }
    await this.#change(async () => {
      await jobs.cancel(job.id, 'cancelled as asked');
    });
    return this.#answer([...children, id]);
  }

  /** Changes the store's queue and reads it again before anything else is decided. */
  async #change(change: () => Promise<void>): Promise<void> {
    const { jobs, queue, requireStore } = this.#options;
    requireStore();
    await queue.submitWith(async () => {
      await change();
      return queueListing(jobs);
    });
  }

  #destination(to: MoveInQueueRequest['to']): Destination {
    if (to?.$case === 'before') return { before: this.#findWaiting(to.before, 'moved to').id };
    if (to?.$case === 'after') return { after: this.#findWaiting(to.after, 'moved to').id };
    if (to?.$case === 'priority') return { priority: to.priority };
    throw new WeftError('invalid_argument', 'a move must say where to: a priority, or a job to stand before or after');
  }

  #findWaiting(id: string, participle: string): QueuedJob {
    const job = this.#find(id);
    if (job.state !== 'active') return job;
    throw new WeftError('failed_precondition', `run ${id} is running and cannot be ${participle}`, {
      hint: `end it with \`weft stop ${id}\``,
    });
  }

  #find(id: string): QueuedJob {
    const { runs } = this.#options.queue.state;
    const job = forecastQueue(this.#options.queue.state).jobs.get(id);
    if (job !== undefined) return job;
    const state = runs.get(id)?.state;
    if (state !== undefined && hasEnded(state))
      throw new WeftError('failed_precondition', `run ${id} is not in the queue: it is ${state.status}`, {
        hint: `queue it again with \`weft resume ${id}\``,
      });
    throw new WeftError('not_found', `${JSON.stringify(id)} is not in the queue`, { hint: 'see `weft queue`' });
  }

  #toEntry(job: QueuedJob): QueueEntry | undefined {
    const { state } = this.#options.queue;
    if (job.kind === 'sweep') return sweepEntry(job);
    const view = describeRun(state, job.runId);
    return view && runEntry(job, view);
  }

  #answer(ids: string[]): QueueChanged {
    return { ids, paused: this.#options.queue.state.queue.isPaused };
  }
}

/** As the wire names the states of jobs. */
const STATES: Readonly<Record<QueuedJob['state'], JobState>> = {
  waiting: JobState.JOB_STATE_WAITING,
  delayed: JobState.JOB_STATE_DELAYED,
  paused: JobState.JOB_STATE_PAUSED,
  waitingForChildren: JobState.JOB_STATE_WAITING_FOR_CHILDREN,
  active: JobState.JOB_STATE_RUNNING,
};

function runEntry({ state, priority, notBeforeMs, parent }: QueuedJob, view: RunDescription): QueueEntry {
  const { runId, recipe, workers, reason, step, steps, failedAttempts, maxAttempts } = view;
  return {
    id: runId,
    kind: JobKind.JOB_KIND_RUN,
    state: STATES[state],
    position: view.queuePosition ?? 0,
    recipe,
    priority,
    workers,
    reason,
    expectedStartMs: Math.round(view.expectedStartMs ?? 0),
    notBeforeMs,
    step,
    steps,
    failedAttempts,
    maxAttempts,
    parent: parent ?? '',
    launchedAtMs: view.createdAtMs,
  };
}

function sweepEntry({ runId, state, priority }: QueuedJob): QueueEntry {
  const isDone = state !== 'waitingForChildren';
  const reason = isDone ? 'all its runs have ended: its result is awaited' : 'some of its runs have not ended';
  const none = { position: 0, workers: 0, expectedStartMs: 0, notBeforeMs: 0, step: 0, steps: 0, launchedAtMs: 0 };
  return {
    ...none,
    id: runId,
    kind: JobKind.JOB_KIND_SWEEP,
    state: STATES[state],
    recipe: 'sweep',
    priority,
    reason,
    failedAttempts: 0,
    maxAttempts: 1,
    parent: '',
  };
}
