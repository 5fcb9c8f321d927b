import type { NewRunJob, QueueCommand, QueuedJob, QueueState } from '../index.js';

interface ModelJob extends NewRunJob {
  readonly parent: string | null;
  state: QueuedJob['state'] | 'completed' | 'failed' | 'cancelled';
  failedAttempts: number;
  /** Smaller starts first, among equals of priority. */
  turn: number;
  notBeforeMs: number;
  priority: number;
}

const LIVE = ['waiting', 'delayed', 'held', 'active'];

/**
 * The store's queue as its port describes it, in memory. It refuses what the port refuses, so that a decision which
 * takes a job twice, or ends one that does not run, is found.
 */
export class ModelQueue {
  isPaused = false;
  readonly #jobs = new Map<string, ModelJob>();
  #lastTurn = 0;
  #firstTurn = 0;
  /** Runs whose job was taken while it was active. */
  #taken = 0;

  carryOut(command: QueueCommand, nowMs: number): void {
    if (command.kind === 'enqueue') this.add(command.job, nowMs);
    else this.#change(command, nowMs);
  }

  #change(command: Exclude<QueueCommand, { kind: 'enqueue' }>, nowMs: number): void {
    const job = this.#job(command.jobId);
    const { state } = job;
    const expect = (...states: string[]) => {
      if (!states.includes(state)) throw new Error(`${command.kind} of job ${job.id}, which is ${state}`);
    };
    switch (command.kind) {
      case 'takeJob':
        this.#settle(nowMs);
        if (this.isPaused || job.state !== 'waiting')
          throw new Error(
            `job ${job.id} was taken although it is ${job.state}${this.isPaused ? ', the queue paused' : ''}`,
          );
        job.state = 'active';
        job.turn = ++this.#taken;
        return;
      case 'requeueJob':
        expect('active');
        job.state = 'waiting';
        job.turn = --this.#firstTurn;
        return;
      case 'completeJob':
        expect('active');
        job.state = 'completed';
        return;
      case 'failJob':
        expect('active');
        job.failedAttempts++;
        job.turn = ++this.#lastTurn;
        job.state = job.failedAttempts < job.attempts ? 'delayed' : 'failed';
        job.notBeforeMs = nowMs + job.backoffMs * 2 ** (job.failedAttempts - 1);
        return;
      case 'cancelJob':
        expect(...LIVE);
        job.state = 'cancelled';
        return;
    }
  }

  add(job: NewRunJob, nowMs: number, parent: string | null = null): void {
    if (this.#jobs.has(job.id)) throw new Error(`job ${job.id} is there already`);
    const state = job.notBeforeMs > nowMs ? 'delayed' : 'waiting';
    this.#jobs.set(job.id, { ...job, parent, state, failedAttempts: 0, turn: ++this.#lastTurn });
  }

  move(id: string, priority: number): void {
    const job = this.#job(id);
    job.priority = priority;
    job.turn = ++this.#lastTurn;
  }

  /** Whether it could be: only a job that has not started is held. */
  pause(id: string): boolean {
    const job = this.#job(id);
    if (job.state !== 'waiting' && job.state !== 'delayed') return false;
    job.state = 'held';
    return true;
  }

  resume(id: string): void {
    const job = this.#job(id);
    if (job.state === 'held') job.state = 'waiting';
  }

  cancel(id: string): void {
    const job = this.#job(id);
    if (LIVE.includes(job.state)) job.state = 'cancelled';
  }

  /** Live jobs in the order the port promises. */
  list(nowMs: number): QueueState {
    this.#settle(nowMs);
    const live = [...this.#jobs.values()].filter(({ state }) => LIVE.includes(state));
    const isActive = ({ state }: ModelJob) => state === 'active';
    const active = live.filter(isActive).sort((a, b) => a.turn - b.turn);
    const others = live.filter((job) => !isActive(job)).sort((a, b) => b.priority - a.priority || a.turn - b.turn);
    return { isPaused: this.isPaused, jobs: [...active, ...others].map(listed) };
  }

  get endedIds(): ReadonlySet<string> {
    return new Set([...this.#jobs.values()].flatMap(({ id, state }) => (LIVE.includes(state) ? [] : id)));
  }

  /** How the last job of a run ended; undefined while it has not. */
  endOf(runId: string): string | undefined {
    const last = [...this.#jobs.values()].filter((job) => job.runId === runId).at(-1);
    return last === undefined || LIVE.includes(last.state) ? undefined : last.state;
  }

  #settle(nowMs: number): void {
    for (const job of this.#jobs.values())
      if (job.state === 'delayed' && job.notBeforeMs <= nowMs) job.state = 'waiting';
  }

  #job(id: string): ModelJob {
    const job = this.#jobs.get(id);
    if (job === undefined) throw new Error(`there is no job ${id}`);
    return job;
  }
}

function listed({ id, runId, state, priority, notBeforeMs, parent }: ModelJob): QueuedJob {
  if (state === 'completed' || state === 'failed' || state === 'cancelled') throw new Error(`job ${id} has ended`);
  return { id, kind: 'run', runId, state, priority, notBeforeMs, parent };
}
