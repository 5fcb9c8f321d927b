import { WeftError } from '@weft/common';
import { hasEnded } from '@weft/contracts';
import { describeRun, forecastQueue, type QueuedJob } from '@weft/coordination';
import type {
  CancelJobRequest,
  MoveInQueueRequest,
  PauseQueueRequest,
  QueueChanged,
  QueueEntry,
  QueuePage,
  ShowQueueRequest,
} from '@weft/proto';
import type { Destination, JobQueue } from '@weft/store';
import type { DecisionQueue } from './decision-queue.js';
import { pageOf } from './page.js';
import { listedEvent } from './queue-jobs.js';
import { runEntry, sweepEntry } from './queue-wire.js';

export interface QueueRequestsOptions {
  readonly queue: DecisionQueue;
  readonly jobs: JobQueue;
  /** @throws `unavailable` while the store does not answer. */
  readonly requireStore: () => void;
}

/** What people ask of the queue. */
export class QueueRequests {
  readonly #options: QueueRequestsOptions;

  constructor(options: QueueRequestsOptions) {
    this.#options = options;
  }

  /** Those at work, then those that wait, in their order. */
  show({ pageToken }: ShowQueueRequest): QueuePage {
    const { state } = this.#options.queue;
    const { page, nextPageToken } = pageOf(state.queue.jobs, ({ id }) => id, pageToken);
    const idle = [...state.workers.values()].filter(({ runId }) => runId === undefined).length;
    return {
      entries: page.flatMap((job) => this.#entryOf(job) ?? []),
      nextPageToken,
      paused: state.queue.isPaused,
      workersConnected: state.workers.size,
      workersIdle: idle,
    };
  }

  /** @throws `not_found`, `failed_precondition` for a run at work, `invalid_argument` without a destination. */
  async move({ id, to }: MoveInQueueRequest): Promise<QueueEntry> {
    const destination = this.#destination(to);
    const job = this.#waiting(id, 'moved');
    await this.#change(() => this.#options.jobs.move(job.id, destination));
    const entry = this.#entryOf(this.#find(id));
    if (entry === undefined) throw new WeftError('not_found', `${id} has left the queue meanwhile`);
    return entry;
  }

  /** @throws `not_found`, `failed_precondition` for a run at work. */
  async pause({ id }: PauseQueueRequest): Promise<QueueChanged> {
    const job = id === '' ? undefined : this.#waiting(id, 'paused');
    await this.#change(() => this.#options.jobs.pause(job?.id));
    return this.#changed(id === '' ? [] : [id]);
  }

  /** @throws `not_found`, `failed_precondition` for a run at work. */
  async resume({ id }: PauseQueueRequest): Promise<QueueChanged> {
    const job = id === '' ? undefined : this.#waiting(id, 'resumed');
    await this.#change(() => this.#options.jobs.resume(job?.id));
    return this.#changed(id === '' ? [] : [id]);
  }

  /** A run at work ends after the step in hand; the children of a sweep end at once. @throws `not_found`. */
  async cancel({ id }: CancelJobRequest): Promise<QueueChanged> {
    const { jobs, queue, requireStore } = this.#options;
    requireStore();
    const job = this.#find(id);
    if (job.kind === 'run') {
      await queue.take({ kind: 'stop', runId: id, saveCheckpoint: true });
      return this.#changed([id]);
    }
    const children = queue.state.queue.jobs.filter(({ parent }) => parent === id).map(({ runId }) => runId);
    for (const runId of children) {
      const state = queue.state.runs.get(runId)?.state;
      if (state !== undefined && !hasEnded(state)) await queue.take({ kind: 'stop', runId, saveCheckpoint: false });
    }
    await this.#change(async () => {
      await jobs.cancel(job.id, 'cancelled as asked');
    });
    return this.#changed([...children, id]);
  }

  /** Changes the store's queue, and takes it as it is then, before anything else is decided. */
  async #change(change: () => Promise<void>): Promise<void> {
    const { jobs, queue, requireStore } = this.#options;
    requireStore();
    await queue.takeMade(async () => {
      await change();
      return listedEvent(jobs);
    });
  }

  #destination(to: MoveInQueueRequest['to']): Destination {
    if (to?.$case === 'before') return { before: this.#waiting(to.before, 'moved to').id };
    if (to?.$case === 'after') return { after: this.#waiting(to.after, 'moved to').id };
    if (to?.$case === 'priority') return { priority: to.priority };
    throw new WeftError('invalid_argument', 'a move must say where to: a priority, or a job to stand before or after');
  }

  #waiting(id: string, participle: string): QueuedJob {
    const job = this.#find(id);
    if (job.state !== 'active') return job;
    throw new WeftError('failed_precondition', `run ${id} is at work and cannot be ${participle}`, {
      cure: `end it with \`weft stop ${id}\``,
    });
  }

  #find(id: string): QueuedJob {
    const { runs } = this.#options.queue.state;
    const job = forecastQueue(this.#options.queue.state).jobs.get(id);
    if (job !== undefined) return job;
    const state = runs.get(id)?.state;
    if (state !== undefined && hasEnded(state))
      throw new WeftError('failed_precondition', `run ${id} is not in the queue: it is ${state.status}`, {
        cure: `queue it again with \`weft resume ${id}\``,
      });
    throw new WeftError('not_found', `${JSON.stringify(id)} is not in the queue`, { cure: 'see `weft queue`' });
  }

  #entryOf(job: QueuedJob): QueueEntry | undefined {
    const { state } = this.#options.queue;
    if (job.kind === 'sweep') return sweepEntry(job);
    const view = describeRun(state, job.runId);
    return view && runEntry(job, view);
  }

  #changed(ids: string[]): QueueChanged {
    return { ids, paused: this.#options.queue.state.queue.isPaused };
  }
}
