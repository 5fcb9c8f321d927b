import type { RunConfig } from '@weft/config';
import type { ClusterState, Crew, Origin } from './cluster-state.js';
import type { QueuedJob } from './queue-state.js';
import { expertWorkers, rankWorkers } from './roles.js';
import type { RunState } from './run-state.js';

/** A run that waits for its turn. */
export interface WaitingRun {
  readonly state: RunState;
  readonly job: QueuedJob;
  readonly origin: Origin | undefined;
  /** The fewest workers it starts with. */
  readonly needs: Crew;
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
    const needs = run.live.settlesFor ?? crewOf(run.durable.config);
    return [{ state: run.durable, job, origin, needs, isDue, claims: isDue && nowMs < claimsUntilMs }];
  });
  return [...waiting.filter(({ claims }) => claims), ...waiting.filter(({ claims }) => !claims)];
}

/**
 * Whether a run that cannot start yet keeps idle workers from those behind it. Else a large run would never see all its
 * workers idle at once. One that asks for more workers than attend keeps nobody waiting.
 */
export function holdsBack({ needs, isDue, claims }: WaitingRun, attending: Crew): boolean {
  const canCome = needs.workers <= attending.workers && needs.expertWorkers <= attending.expertWorkers;
  return isDue && (claims || canCome);
}

/** How many workers attend. */
export function crewAttending(cluster: Pick<ClusterState, 'workers'>): Crew {
  return { workers: rankWorkers(cluster).length, expertWorkers: expertWorkers(cluster).length };
}

/** The workers a run asks for. */
export function crewOf({ workers, expertWorkers }: RunConfig): Crew {
  // A configuration that an older version wrote into a log does not speak of expert workers.
  return { workers, expertWorkers: expertWorkers ?? 0 };
}
