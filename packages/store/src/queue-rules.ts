import { WeftError } from '@weft/common';
import { asJson } from './as-json.js';
import type { Destination, JobState, NewJob } from './job-queue.js';
import { type OrderKey, orderKeyBetween } from './order-key.js';
import {
  compareQueued,
  hasEnded,
  jobState,
  type QueueChange,
  type QueueState,
  type StoredJob,
  unfinishedChildren,
} from './queue-state.js';

const LONGEST_BACKOFF_MS = 3_600_000;

/**
 * What each call of a `JobQueue` changes, as pure functions of the current queue, shared by all adapters. They throw the
 * errors that `JobQueue` documents.
 */

/** Adds jobs, or a parent with its children. @throws WeftError `already_exists`. */
export function add(state: QueueState, jobs: readonly NewJob[], nowMs: number, parent?: NewJob): QueueChange[] {
  const ids = new Set<string>();
  let last = lastOrderKey(state);
  const added = (job: NewJob, family: Pick<StoredJob, 'parent' | 'children'>): QueueChange => {
    if (state.jobs.has(job.id) || ids.has(job.id))
      throw new WeftError('already_exists', `job ${job.id} is in the queue already`);
    ids.add(job.id);
    last = orderKeyBetween(last, undefined);
    return { kind: 'added', job: newStoredJob(job, family, last, nowMs) };
  };
  const family = { parent: parent?.id ?? null, children: [] };
  const changes = jobs.map((job) => added(job, family));
  if (parent === undefined) return changes;
  return [added(parent, { parent: null, children: jobs.map(({ id }) => id) }), ...changes];
}

/** waiting → active. */
export function take(state: QueueState, id: string, nowMs: number): QueueChange[] {
  const job = find(state, id);
  const standing = jobState(state.jobs, job, nowMs);
  if (standing !== 'waiting') throw wrongState(id, standing, 'started');
  if (state.paused) {
    throw new WeftError('failed_precondition', `job ${id} cannot be started, the queue is paused`, {
      hint: 'resume the queue',
    });
  }
  return changeJob(id, { phase: 'active', startedAtMs: nowMs });
}

/** active → completed. */
export function complete(state: QueueState, id: string, result: unknown, nowMs: number): QueueChange[] {
  findActive(state, id, nowMs, 'completed');
  return changeJob(id, {
    phase: 'completed',
    result: asJson(result, `the result of job ${id}`),
    reason: null,
    endedAtMs: nowMs,
  });
}

/** active → delayed while attempts are left, else → failed. */
export function fail(state: QueueState, id: string, reason: string, nowMs: number): QueueChange[] {
  const job = findActive(state, id, nowMs, 'failed');
  const failedAttempts = job.failedAttempts + 1;
  if (failedAttempts >= job.attempts)
    return changeJob(id, { phase: 'failed', failedAttempts, reason, endedAtMs: nowMs });
  return changeJob(id, { phase: 'queued', failedAttempts, reason, notBeforeMs: nowMs + retryDelayMs(job) });
}

/** Exponential: `backoffMs`, twice that, four times that, but no more than an hour unless `backoffMs` itself is more. */
function retryDelayMs({ backoffMs, failedAttempts }: Pick<StoredJob, 'backoffMs' | 'failedAttempts'>): number {
  return Math.min(backoffMs * 2 ** failedAttempts, Math.max(backoffMs, LONGEST_BACKOFF_MS));
}

/** active → waiting, in front of the others of its priority. */
export function requeue(state: QueueState, id: string, nowMs: number): QueueChange[] {
  const job = findActive(state, id, nowMs, 'put back');
  const [first] = queuedInOrder(state).filter(({ priority }) => priority === job.priority);
  return changeJob(id, { phase: 'queued', rank: orderKeyBetween(undefined, first?.rank) });
}

/** Stores a value with an active job. */
export function progress(state: QueueState, id: string, value: unknown, nowMs: number): QueueChange[] {
  findActive(state, id, nowMs, 'given a progress');
  return changeJob(id, { progress: asJson(value, `the progress of job ${id}`) });
}

/** Gives a job that has not started another position or priority. */
export function move(state: QueueState, id: string, to: Destination, nowMs: number): QueueChange[] {
  const moved = notStarted(state, id, nowMs, 'moved');
  if ('priority' in to) {
    checkPriority(id, to.priority);
    let last = lastOrderKey(state);
    return moved.flatMap((job) => {
      last = orderKeyBetween(last, undefined);
      return changeJob(job.id, { priority: to.priority, rank: last });
    });
  }
  const beside = find(state, 'before' in to ? to.before : to.after);
  if (beside.phase !== 'queued' || moved.includes(beside)) {
    throw new WeftError('failed_precondition', `job ${id} cannot be moved beside job ${beside.id}`, {
      hint: 'name another job that has not started',
    });
  }
  const others = queuedInOrder(state).filter((job) => job.priority === beside.priority && !moved.includes(job));
  const place = others.indexOf(beside) + ('before' in to ? 0 : 1);
  let left = others[place - 1]?.rank;
  const right = others[place]?.rank;
  return moved.flatMap((job) => {
    left = orderKeyBetween(left, right);
    return changeJob(job.id, { priority: beside.priority, rank: left });
  });
}

/** Pauses or resumes the whole queue, a job, or the children of a sweep that have not started. */
export function setPaused(state: QueueState, id: string | undefined, held: boolean, nowMs: number): QueueChange[] {
  if (id === undefined) return [{ kind: 'paused', paused: held }];
  return notStarted(state, id, nowMs, held ? 'paused' : 'resumed').flatMap((job) => changeJob(job.id, { held }));
}

/** Cancels a job that has not ended, with its children. */
export function cancel(state: QueueState, id: string, reason: string, nowMs: number): QueueChange[] {
  const job = find(state, id);
  if (hasEnded(job)) throw wrongState(id, jobState(state.jobs, job, nowMs), 'cancelled');
  const ended = { phase: 'cancelled', reason, endedAtMs: nowMs } as const;
  return [...unfinishedChildren(state.jobs, job), job].flatMap((one) => changeJob(one.id, ended));
}

/** A job by its id. @throws WeftError `not_found`. */
export function find(state: QueueState, id: string): StoredJob {
  const job = state.jobs.get(id);
  if (job === undefined) throw new WeftError('not_found', `there is no job ${id} in the queue`);
  return job;
}

const changeJob = (id: string, fields: Partial<StoredJob>): QueueChange[] => [{ kind: 'changed', id, fields }];

function findActive(state: QueueState, id: string, nowMs: number, participle: string): StoredJob {
  const job = find(state, id);
  if (job.phase !== 'active') throw wrongState(id, jobState(state.jobs, job, nowMs), participle);
  return job;
}

/** The job itself; for a parent that waits for its children, those that have not started. */
function notStarted(state: QueueState, id: string, nowMs: number, participle: string): readonly StoredJob[] {
  const job = find(state, id);
  if (job.phase !== 'queued') throw wrongState(id, jobState(state.jobs, job, nowMs), participle);
  if (jobState(state.jobs, job, nowMs) !== 'waitingForChildren') return [job];
  return unfinishedChildren(state.jobs, job)
    .filter(({ phase }) => phase === 'queued')
    .sort(compareQueued);
}

const queuedInOrder = ({ jobs }: QueueState) =>
  [...jobs.values()].filter(({ phase }) => phase === 'queued').sort(compareQueued);

/** The order key after which a new job is put, whatever its priority. */
function lastOrderKey({ jobs }: QueueState): OrderKey | undefined {
  let last: OrderKey | undefined;
  for (const { phase, rank } of jobs.values())
    if (phase === 'queued' && (last === undefined || rank.whole > last.whole)) last = rank;
  return last;
}

function wrongState(id: string, state: JobState, participle: string): WeftError {
  return new WeftError('failed_precondition', `job ${id} cannot be ${participle}, it is ${WORDS[state]}`);
}

const WORDS: Record<JobState, string> = {
  waiting: 'waiting',
  delayed: 'delayed',
  paused: 'paused',
  waitingForChildren: 'waiting for its children',
  active: 'active',
  completed: 'completed',
  failed: 'failed',
  cancelled: 'cancelled',
};

const PRIORITY_LIMIT = 1_000_000;
const MOST_ATTEMPTS = 1000;
const DEFAULT_BACKOFF_MS = 10_000;

/** The job with its defaults. @throws WeftError `invalid_argument` naming job, field and value. */
function newStoredJob(
  { id, kind, data, priority = 0, attempts = 1, backoffMs = DEFAULT_BACKOFF_MS, notBeforeMs = 0 }: NewJob,
  family: Pick<StoredJob, 'parent' | 'children'>,
  rank: OrderKey,
  nowMs: number,
): StoredJob {
  if (!/^[A-Za-z][A-Za-z0-9._-]*$/.test(id)) {
    throw new WeftError('invalid_argument', `${JSON.stringify(id)} cannot be the id of a job`, {
      hint: 'use letters, digits, dots, dashes and underscores, a letter first',
    });
  }
  checkPriority(id, priority);
  if (!Number.isInteger(attempts) || attempts < 1 || attempts > MOST_ATTEMPTS)
    throw wrong(id, 'attempts', attempts, `a whole number from 1 to ${MOST_ATTEMPTS}`);
  if (!(backoffMs >= 0)) throw wrong(id, 'backoffMs', backoffMs, 'a number of milliseconds');
  if (!(notBeforeMs >= 0)) throw wrong(id, 'notBeforeMs', notBeforeMs, 'a time in milliseconds since the epoch');
  return {
    ...{ id, kind, data: asJson(data, `the data of job ${id}`), priority, attempts, backoffMs, notBeforeMs, ...family },
    ...{ phase: 'queued', held: false, rank },
    ...{ failedAttempts: 0, reason: null, progress: null, result: null },
    ...{ addedAtMs: nowMs, startedAtMs: null, endedAtMs: null },
  };
}

function checkPriority(id: string, priority: number): void {
  if (Number.isInteger(priority) && Math.abs(priority) <= PRIORITY_LIMIT) return;
  throw wrong(id, 'priority', priority, `a whole number from -${PRIORITY_LIMIT} to ${PRIORITY_LIMIT}`);
}

const wrong = (id: string, field: string, value: number, what: string) =>
  new WeftError('invalid_argument', `${field} of job ${id} must be ${what}, not ${value}`);
