import type { ClusterState, Origin } from './cluster-state.js';
import type { QueuedJob } from './queue-state.js';
import type { RunState } from './run-state.js';

/** A run that waits for its turn. */
export interface WaitingRun {
  readonly state: RunState;
  readonly job: QueuedJob;
  readonly origin: Origin | undefined;
  /** Nothing but workers is missing: no time, no person's pause. */
  readonly isDue: boolean;
  /** It was interrupted a moment ago, and its workers may be on their way back. */
  readonly claims: boolean;
}

/** The runs that wait, in the order they would start: those that were interrupted a moment ago, then as they are queued. */
export function waitingRuns({ queue, runs }: ClusterState, nowMs: number): readonly WaitingRun[] {
  const waiting = queue.jobs.flatMap((job): WaitingRun[] => {
    const run = job.state === 'active' ? undefined : runs.get(job.runId);
    if (run?.live.stage !== 'waiting') return [];
    const { origin, claimsUntilMs = 0 } = run.live;
    const isDue = job.state === 'waiting' && !queue.isPaused;
    return [{ state: run.durable, job, origin, isDue, claims: isDue && nowMs < claimsUntilMs }];
  });
  return [...waiting.filter(({ claims }) => claims), ...waiting.filter(({ claims }) => !claims)];
}

/**
 * Whether a run that cannot start yet keeps idle workers from those behind it. Else a large run would never see all its
 * workers idle at once. One that asks for more workers than attend keeps nobody waiting.
 */
export function holdsBack({ state, isDue, claims }: WaitingRun, attending: number): boolean {
  return isDue && (claims || state.config.workers <= attending);
}
