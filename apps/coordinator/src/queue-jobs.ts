import { type ClusterEvent, jobOwner, type NewRunJob, type QueuedJob, type QueueState } from '@weft/coordination';
import type { Job, JobQueue, JobState, NewJob } from '@weft/store';

/** What the coordinator puts into a job: with a child of a sweep everything that launches it, since its log comes later. */
export interface JobData {
  readonly config?: unknown;
  readonly weftVersion?: string;
}

export function newRunJob({ id, priority, attempts, backoffMs, notBeforeMs }: NewRunJob, data: JobData = {}): NewJob {
  return { id, kind: 'run', data, priority, attempts, backoffMs, notBeforeMs };
}

/** The store's queue as it is now. Made in its turn, so that nothing was decided on an older one. */
export async function listedEvent(queue: JobQueue): Promise<ClusterEvent> {
  const [jobs, isPaused] = await Promise.all([queue.list(), queue.isPaused()]);
  return { kind: 'queueListed', queue: queueStateOf(jobs, isPaused) };
}

function queueStateOf(jobs: readonly Job[], isPaused: boolean): QueueState {
  return { isPaused, jobs: jobs.flatMap(queuedJobOf) };
}

/** What a coordinator finds that comes back. */
export function foundQueue(
  jobs: readonly Job[],
  isPaused: boolean,
): Omit<ClusterEvent & { kind: 'recovered' }, 'policy'> {
  const ended = jobs.filter(({ state }) => liveState(state) === undefined);
  const endedJobIds = new Set(ended.map(({ id }) => id));
  return { kind: 'recovered', queue: queueStateOf(jobs, isPaused), endedJobIds };
}

export function hasEnded({ state }: Job): boolean {
  return liveState(state) === undefined;
}

function queuedJobOf({ id, kind, state, priority, notBeforeMs, parent }: Job): QueuedJob[] {
  const live = liveState(state);
  if (live === undefined) return [];
  const ofSweep = parent === null ? null : jobOwner(parent);
  return [{ id, kind, runId: jobOwner(id), state: live, priority, notBeforeMs, parent: ofSweep }];
}

function liveState(state: JobState): QueuedJob['state'] | undefined {
  if (state === 'completed' || state === 'failed' || state === 'cancelled') return undefined;
  return state === 'held' ? 'paused' : state;
}
