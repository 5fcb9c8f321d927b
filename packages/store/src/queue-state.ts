import { WeftError } from '@weft/common';
import type { Job, JobState } from './job-queue.js';
import { compareOrderKeys, type OrderKey } from './order-key.js';

/** The stored state of the queue. */
export interface QueueState {
  readonly jobs: StoredJobs;
  readonly paused: boolean;
}

/** What a call changes, as it is written to disk. */
export type QueueChange =
  | { readonly kind: 'added'; readonly job: StoredJob }
  | { readonly kind: 'changed'; readonly id: string; readonly fields: Partial<StoredJob> }
  | { readonly kind: 'forgotten'; readonly ids: readonly string[] }
  | { readonly kind: 'paused'; readonly paused: boolean };

const KINDS = { added: true, changed: true, forgotten: true, paused: true } satisfies Record<QueueChange['kind'], true>;

/** A change as it was written. @throws WeftError `version_mismatch` for a kind that this version does not know. */
export function asQueueChange(record: unknown): QueueChange {
  if (isQueueChange(record)) return record;
  throw new WeftError('version_mismatch', 'the queue was written by another version of Weft', {
    hint: 'use that version, or the newest',
  });
}

function isQueueChange(record: unknown): record is QueueChange {
  return typeof record === 'object' && record !== null && 'kind' in record && String(record.kind) in KINDS;
}

/** A queue without jobs that is not paused. */
export const emptyQueue: QueueState = { jobs: new Map(), paused: false };

/** How many ended jobs are kept. */
const ENDED_KEPT = 1000;

/** The queue after some changes. */
export function applyChanges(state: QueueState, changes: readonly QueueChange[]): QueueState {
  const jobs = new Map(state.jobs);
  let { paused } = state;
  for (const change of changes) {
    if (change.kind === 'added') jobs.set(change.job.id, change.job);
    else if (change.kind === 'forgotten') for (const id of change.ids) jobs.delete(id);
    else if (change.kind === 'paused') paused = change.paused;
    else {
      const job = jobs.get(change.id);
      if (job !== undefined) jobs.set(change.id, { ...job, ...change.fields });
    }
  }
  return { jobs, paused };
}

/** The oldest ended jobs beyond that number, without children whose parent has not ended. */
export function trim({ jobs }: QueueState): readonly QueueChange[] {
  const ended = [...jobs.values()].filter((job) => hasEnded(job) && !isLiving(jobs.get(job.parent ?? '')));
  if (ended.length <= ENDED_KEPT) return [];
  const ids = ended
    .sort(latestEndFirst)
    .slice(ENDED_KEPT)
    .map(({ id }) => id);
  return [{ kind: 'forgotten', ids }];
}

const isLiving = (job: StoredJob | undefined) => job !== undefined && !hasEnded(job);

/** A stored job. Its state follows from it, its children and the time of day. */
export interface StoredJob extends Omit<Job, 'state'> {
  readonly phase: 'queued' | 'active' | 'completed' | 'failed' | 'cancelled';
  readonly held: boolean;
  /** Its position among the queued jobs of its priority. */
  readonly rank: OrderKey;
}

/** Stored jobs by id. */
export type StoredJobs = ReadonlyMap<string, StoredJob>;

/** Whether a job is completed, failed or cancelled. */
export const hasEnded = ({ phase }: StoredJob): boolean => phase !== 'queued' && phase !== 'active';

/** The children of a job that have not ended. */
export function unfinishedChildren(jobs: StoredJobs, { children }: StoredJob): readonly StoredJob[] {
  return children.flatMap((id) => {
    const child = jobs.get(id);
    return child === undefined || hasEnded(child) ? [] : child;
  });
}

/** The state of a stored job at a time. */
export function jobState(jobs: StoredJobs, job: StoredJob, nowMs: number): JobState {
  if (job.phase !== 'queued') return job.phase;
  if (unfinishedChildren(jobs, job).length > 0) return 'waitingForChildren';
  if (job.held) return 'paused';
  return job.notBeforeMs > nowMs ? 'delayed' : 'waiting';
}

/** A stored job as callers of `JobQueue` see it. */
export function toJob(jobs: StoredJobs, stored: StoredJob, nowMs: number): Job {
  const { phase: _phase, held: _held, rank: _rank, ...job } = stored;
  return { ...job, state: jobState(jobs, stored, nowMs) };
}

/** Higher priorities first; among equals by order key. */
export function compareQueued(left: StoredJob, right: StoredJob): number {
  return right.priority - left.priority || compareOrderKeys(left.rank, right.rank) || byId(left, right);
}

/** All jobs in the order of `JobQueue.list`. */
export function listJobs(jobs: StoredJobs, nowMs: number): readonly Job[] {
  const all = [...jobs.values()];
  const active = all.filter(({ phase }) => phase === 'active').sort(earliestStartFirst);
  const queued = all.filter(({ phase }) => phase === 'queued').sort(compareQueued);
  const ended = all.filter(hasEnded).sort(latestEndFirst);
  return [...active, ...queued, ...ended].map((job) => toJob(jobs, job, nowMs));
}

const latestEndFirst = (left: StoredJob, right: StoredJob): number =>
  Number(right.endedAtMs) - Number(left.endedAtMs) || byId(left, right);

const earliestStartFirst = (left: StoredJob, right: StoredJob): number =>
  Number(left.startedAtMs) - Number(right.startedAtMs) || byId(left, right);

const byId = (left: StoredJob, right: StoredJob): number => (left.id < right.id ? -1 : 1);
