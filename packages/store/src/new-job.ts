import { WeftError } from '@weft/common';
import { asJson } from './as-json.js';
import type { NewJob } from './job-queue.js';
import type { Rank } from './rank.js';
import type { StoredJob } from './stored-job.js';

const PRIORITY_LIMIT = 1_000_000;
const MOST_ATTEMPTS = 1000;
const DEFAULT_BACKOFF_MS = 10_000;

/** The job with its defaults. @throws WeftError `invalid_argument` naming job, field and value. */
export function newStoredJob(
  { id, kind, data, priority = 0, attempts = 1, backoffMs = DEFAULT_BACKOFF_MS, notBeforeMs = 0 }: NewJob,
  family: Pick<StoredJob, 'parent' | 'children'>,
  rank: Rank,
  nowMs: number,
): StoredJob {
  if (!/^[A-Za-z][A-Za-z0-9._-]*$/.test(id)) {
    throw new WeftError('invalid_argument', `${JSON.stringify(id)} cannot be the id of a job`, {
      cure: 'use letters, digits, dots, dashes and underscores, a letter first',
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

export function checkPriority(id: string, priority: number): void {
  if (Number.isInteger(priority) && Math.abs(priority) <= PRIORITY_LIMIT) return;
  throw wrong(id, 'priority', priority, `a whole number from -${PRIORITY_LIMIT} to ${PRIORITY_LIMIT}`);
}

const wrong = (id: string, field: string, value: number, what: string) =>
  new WeftError('invalid_argument', `${field} of job ${id} must be ${what}, not ${value}`);
