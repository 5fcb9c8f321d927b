import type { QueueCommand } from './commands.js';
import type { NewRunJob, QueuedJob, QueueState } from './queue-state.js';

interface StoredJob extends NewRunJob {
  readonly parent: string | null;
  state: QueuedJob['state'] | 'completed' | 'failed' | 'cancelled';
  failedAttempts: number;
  /** Orders jobs of one priority: smaller starts first. */
  order: number;
  notBeforeMs: number;
  priority: number;
}

const LIVE = ['waiting', 'delayed', 'paused', 'active'];

/**
 * The store's job queue in memory, for tests and simulations of `decide`. It refuses the same calls as the store, and so finds
 * decisions that take a job twice or end one that is not active.
 */
export class InMemoryQueue {
  isPaused = false;
  readonly #jobs = new Map<string, StoredJob>();
  #lastOrder = 0;
  #firstOrder = 0;
  #takenCount = 0;

  /** @throws Error for a command that the job's state does not allow. */
  execute(command: QueueCommand, nowMs: number): void {
    if (command.kind === 'enqueue') this.add(command.job, nowMs);
    else this.#change(command, nowMs);
  }

  #change(command: Exclude<QueueCommand, { kind: 'enqueue' }>, nowMs: number): void {
    const job = this.#job(command.jobId);
    const { state } = job;
    const expectState = (...states: string[]) => {
      if (!states.includes(state)) throw new Error(`${command.kind} of job ${job.id}, which is ${state}`);
    };
    switch (command.kind) {
      case 'takeJob':
        this.#endDelays(nowMs);
        if (this.isPaused || job.state !== 'waiting')
          throw new Error(
            `job ${job.id} was taken although it is ${job.state}${this.isPaused ? ', the queue paused' : ''}`,
          );
        job.state = 'active';
        job.order = ++this.#takenCount;
        return;
      case 'requeueJob':
        expectState('active');
        job.state = 'waiting';
        job.order = --this.#firstOrder;
        return;
      case 'completeJob':
        expectState('active');
        job.state = 'completed';
        return;
      case 'failJob':
        expectState('active');
        job.failedAttempts++;
        job.order = ++this.#lastOrder;
        job.state = job.failedAttempts < job.attempts ? 'delayed' : 'failed';
        job.notBeforeMs = nowMs + job.backoffMs * 2 ** (job.failedAttempts - 1);
        return;
      case 'cancelJob':
        expectState(...LIVE);
        job.state = 'cancelled';
        return;
    }
  }

  add(job: NewRunJob, nowMs: number, parent: string | null = null): void {
    if (this.#jobs.has(job.id)) throw new Error(`job ${job.id} is there already`);
    const state = job.notBeforeMs > nowMs ? 'delayed' : 'waiting';
    this.#jobs.set(job.id, { ...job, parent, state, failedAttempts: 0, order: ++this.#lastOrder });
  }

  move(id: string, priority: number): void {
    const job = this.#job(id);
    job.priority = priority;
    job.order = ++this.#lastOrder;
  }

  /** Does nothing to a job that has started. */
  pause(id: string): void {
    const job = this.#job(id);
    if (job.state === 'waiting' || job.state === 'delayed') job.state = 'paused';
  }

  resume(id: string): void {
    const job = this.#job(id);
    if (job.state === 'paused') job.state = 'waiting';
  }

  cancel(id: string): void {
    const job = this.#job(id);
    if (LIVE.includes(job.state)) job.state = 'cancelled';
  }

  /** The jobs that have not ended, in the order the store promises. */
  list(nowMs: number): QueueState {
    this.#endDelays(nowMs);
    const live = [...this.#jobs.values()].filter(({ state }) => LIVE.includes(state));
    const isActive = ({ state }: StoredJob) => state === 'active';
    const active = live.filter(isActive).sort((a, b) => a.order - b.order);
    const others = live.filter((job) => !isActive(job)).sort((a, b) => b.priority - a.priority || a.order - b.order);
    return { isPaused: this.isPaused, jobs: [...active, ...others].map(toQueuedJob) };
  }

  get endedIds(): ReadonlySet<string> {
    return new Set([...this.#jobs.values()].flatMap(({ id, state }) => (LIVE.includes(state) ? [] : id)));
  }

  /** How the last job of a run ended; undefined while it has not. */
  endOf(runId: string): string | undefined {
    const last = [...this.#jobs.values()].filter((job) => job.runId === runId).at(-1);
    return last === undefined || LIVE.includes(last.state) ? undefined : last.state;
  }

  #endDelays(nowMs: number): void {
    for (const job of this.#jobs.values())
      if (job.state === 'delayed' && job.notBeforeMs <= nowMs) job.state = 'waiting';
  }

  #job(id: string): StoredJob {
    const job = this.#jobs.get(id);
    if (job === undefined) throw new Error(`there is no job ${id}`);
    return job;
  }
}

function toQueuedJob({ id, runId, state, priority, notBeforeMs, parent }: StoredJob): QueuedJob {
  if (state === 'completed' || state === 'failed' || state === 'cancelled') throw new Error(`job ${id} has ended`);
  return { id, kind: 'run', runId, state, priority, notBeforeMs, parent };
}
