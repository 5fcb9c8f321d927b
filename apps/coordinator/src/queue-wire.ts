import type { QueuedJob, RunDescription } from '@weft/coordination';
import { JobKind, JobState, type QueueEntry } from '@weft/proto';

const STATES: Readonly<Record<QueuedJob['state'], JobState>> = {
  waiting: JobState.JOB_STATE_WAITING,
  delayed: JobState.JOB_STATE_DELAYED,
  paused: JobState.JOB_STATE_PAUSED,
  waitingForChildren: JobState.JOB_STATE_WAITING_FOR_CHILDREN,
  active: JobState.JOB_STATE_RUNNING,
};

export function runEntry({ state, priority, notBeforeMs, parent }: QueuedJob, view: RunDescription): QueueEntry {
  const { runId, recipe, workers, reason, step, steps, failedAttempts, maxAttempts } = view;
  return {
    id: runId,
    kind: JobKind.JOB_KIND_RUN,
    state: STATES[state],
    position: view.queuePosition ?? 0,
    recipe,
    priority,
    workers,
    reason,
    expectedStartMs: Math.round(view.expectedStartMs ?? 0),
    notBeforeMs,
    step,
    steps,
    failedAttempts,
    maxAttempts,
    parent: parent ?? '',
    launchedAtMs: view.createdAtMs,
  };
}

export function sweepEntry({ runId, state, priority }: QueuedJob): QueueEntry {
  const isDone = state !== 'waitingForChildren';
  const reason = isDone ? 'all its runs have ended: its result is awaited' : 'some of its runs have not ended';
  const none = { position: 0, workers: 0, expectedStartMs: 0, notBeforeMs: 0, step: 0, steps: 0, launchedAtMs: 0 };
  return {
    ...none,
    id: runId,
    kind: JobKind.JOB_KIND_SWEEP,
    state: STATES[state],
    recipe: 'sweep',
    priority,
    reason,
    failedAttempts: 0,
    maxAttempts: 1,
    parent: '',
  };
}
