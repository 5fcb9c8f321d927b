import { assertNever, WeftError } from '@weft/common';
import {
  type ClusterEvent,
  jobOwner,
  type NewRunJob,
  type QueueCommand,
  type QueuedJob,
  type QueueState,
} from '@weft/coordination';
import type { Job, JobQueue, JobState, NewJob } from '@weft/store';

/** Executes one change of the queue in the store. @throws WeftError the refusal of the store. */
export async function executeInQueue(queue: JobQueue, command: QueueCommand): Promise<void> {
  switch (command.kind) {
    case 'enqueue':
      return queue.add(newRunJob(command.job));
    case 'takeJob':
      await queue.take(command.jobId);
      return;
    case 'requeueJob':
      return queue.requeue(command.jobId);
    case 'completeJob':
      return queue.complete(command.jobId, command.result);
    case 'failJob':
      await queue.fail(command.jobId, command.reason);
      return;
    case 'cancelJob':
      return cancel(queue, command.jobId, command.reason);
    default:
      assertNever(command);
  }
}

/** A job that has ended meanwhile, together with its sweep, needs no cancelling. */
async function cancel(queue: JobQueue, jobId: string, reason: string): Promise<void> {
  try {
    await queue.cancel(jobId, reason);
  } catch (thrown) {
    if (WeftError.is(thrown, 'failed_precondition') && hasJobEnded(await queue.get(jobId))) return;
    throw thrown;
  }
}

/** The data of a sweep's child job: enough to launch it, because its log is written later. */
interface JobData {
  readonly config?: unknown;
  readonly weftVersion?: string;
}

/** The store's job of a run. */
export function newRunJob({ id, priority, attempts, backoffMs, notBeforeMs }: NewRunJob, data: JobData = {}): NewJob {
  return { id, kind: 'run', data, priority, attempts, backoffMs, notBeforeMs };
}

/** The current queue of the store. Use with `submitWith`, so that no decision is based on an older listing. */
export async function queueListing(queue: JobQueue): Promise<ClusterEvent> {
  const [jobs, isPaused] = await Promise.all([queue.list(), queue.isPaused()]);
  return { kind: 'queueListed', queue: toQueueState(jobs, isPaused) };
}

/** The event with which a restarted coordinator begins. */
export function recoveredQueue(
  jobs: readonly Job[],
  isPaused: boolean,
): Omit<ClusterEvent & { kind: 'recovered' }, 'policy'> {
  const endedJobIds = new Set(jobs.filter(hasJobEnded).map(({ id }) => id));
  return { kind: 'recovered', queue: toQueueState(jobs, isPaused), endedJobIds };
}

/** Whether a job is completed, failed or cancelled. */
export function hasJobEnded({ state }: Job): boolean {
  return liveState(state) === undefined;
}

function toQueueState(jobs: readonly Job[], isPaused: boolean): QueueState {
  return { isPaused, jobs: jobs.flatMap(toQueuedJobs) };
}

/** None for a job that has ended. */
function toQueuedJobs({ id, kind, state, priority, notBeforeMs, parent }: Job): QueuedJob[] {
  const live = liveState(state);
  if (live === undefined) return [];
  const sweepId = parent === null ? null : jobOwner(parent);
  return [{ id, kind, runId: jobOwner(id), state: live, priority, notBeforeMs, parent: sweepId }];
}

function liveState(state: JobState): QueuedJob['state'] | undefined {
  if (state === 'completed' || state === 'failed' || state === 'cancelled') return undefined;
  return state;
}
