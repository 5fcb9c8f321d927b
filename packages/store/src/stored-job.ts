import type { Job, JobState } from './job-queue.js';
import { compareRanks, type Rank } from './rank.js';

/** A job as it is kept. What its state is follows from it, its children and the time of day. */
export interface StoredJob extends Omit<Job, 'state'> {
  readonly phase: 'queued' | 'active' | 'completed' | 'failed' | 'cancelled';
  readonly held: boolean;
  /** Its place among the queued jobs of its priority. */
  readonly rank: Rank;
}

export type StoredJobs = ReadonlyMap<string, StoredJob>;

export const hasEnded = ({ phase }: StoredJob): boolean => phase !== 'queued' && phase !== 'active';

/** The children of a job that have not ended. */
export function livingChildren(jobs: StoredJobs, { children }: StoredJob): readonly StoredJob[] {
  return children.flatMap((id) => {
    const child = jobs.get(id);
    return child === undefined || hasEnded(child) ? [] : child;
  });
}

export function stateOf(jobs: StoredJobs, job: StoredJob, nowMs: number): JobState {
  if (job.phase !== 'queued') return job.phase;
  if (livingChildren(jobs, job).length > 0) return 'waitingForChildren';
  if (job.held) return 'held';
  return job.notBeforeMs > nowMs ? 'delayed' : 'waiting';
}

export function asJob(jobs: StoredJobs, stored: StoredJob, nowMs: number): Job {
  const { phase: _phase, held: _held, rank: _rank, ...job } = stored;
  return { ...job, state: stateOf(jobs, stored, nowMs) };
}

/** Higher priorities first; among equals by rank. */
export function byOrder(left: StoredJob, right: StoredJob): number {
  return right.priority - left.priority || compareRanks(left.rank, right.rank) || byId(left, right);
}

/** The listing that `JobQueue.list` promises. */
export function listJobs(jobs: StoredJobs, nowMs: number): readonly Job[] {
  const all = [...jobs.values()];
  const active = all.filter(({ phase }) => phase === 'active').sort(earliestStartFirst);
  const queued = all.filter(({ phase }) => phase === 'queued').sort(byOrder);
  const ended = all.filter(hasEnded).sort(latestEndFirst);
  return [...active, ...queued, ...ended].map((job) => asJob(jobs, job, nowMs));
}

export const latestEndFirst = (left: StoredJob, right: StoredJob): number =>
  Number(right.endedAtMs) - Number(left.endedAtMs) || byId(left, right);

const earliestStartFirst = (left: StoredJob, right: StoredJob): number =>
  Number(left.startedAtMs) - Number(right.startedAtMs) || byId(left, right);

const byId = (left: StoredJob, right: StoredJob): number => (left.id < right.id ? -1 : 1);
