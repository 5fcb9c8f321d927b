import { WeftError } from '@weft/common';
import { hasEnded, latestEndFirst, type StoredJob, type StoredJobs } from './stored-job.js';

/** What is kept of the queue. */
export interface QueueState {
  readonly jobs: StoredJobs;
  readonly paused: boolean;
}

/** What a call changes, as it is written to the disk. */
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
    cure: 'use that version, or the newest',
  });
}

function isQueueChange(record: unknown): record is QueueChange {
  return typeof record === 'object' && record !== null && 'kind' in record && String(record.kind) in KINDS;
}

export const emptyQueue: QueueState = { jobs: new Map(), paused: false };

/** Jobs that have ended are kept up to this number. */
const ENDED_KEPT = 1000;

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

/** The ended jobs that are too many, the oldest; never a child of a parent that lives. */
export function surplus({ jobs }: QueueState): readonly QueueChange[] {
  const ended = [...jobs.values()].filter((job) => hasEnded(job) && !isLiving(jobs.get(job.parent ?? '')));
  if (ended.length <= ENDED_KEPT) return [];
  const ids = ended
    .sort(latestEndFirst)
    .slice(ENDED_KEPT)
    .map(({ id }) => id);
  return [{ kind: 'forgotten', ids }];
}

const isLiving = (job: StoredJob | undefined) => job !== undefined && !hasEnded(job);
