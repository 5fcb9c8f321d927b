import type { RunConfig } from '@weft/config';
import type { ClusterState, Run, StartState, Timeouts, Waiting } from './cluster-state.js';
import type { QueuedJob } from './queue-state.js';
import type { RunState, WorkerCounts } from './run-state.js';

/** A run in the queue that has not started. */
export interface WaitingRun {
  readonly state: RunState;
  readonly job: QueuedJob;
  /** Undefined while its newest checkpoint is being looked up. */
  readonly startState: StartState | undefined;
  /** The fewest workers it starts with. */
  readonly required: WorkerCounts;
  /**
   * It waits for nothing but workers: it is not delayed, the runs before it have finished, neither it nor the queue is
   * paused, and connected ones have the memory for it.
   */
  readonly isDue: boolean;
  /** It was interrupted a moment ago, and its workers may be on their way back. */
  readonly hasReservation: boolean;
}

/** The waiting runs in the order they would start: first those with a reservation, then as the queue has them. */
export function waitingRuns({ queue, runs, timeouts }: ClusterState, nowMs: number): readonly WaitingRun[] {
  const waiting = queue.jobs.flatMap((job): WaitingRun[] => {
    const run = job.state === 'active' ? undefined : runs.get(job.runId);
    if (run?.live.state !== 'waiting') return [];
    const { state, live } = run;
    const { startState, reservedUntilMs = 0 } = live;
    const isHeldUp = live.shortage !== undefined || unfinishedBefore({ runs }, state).length > 0;
    const isDue = job.state === 'waiting' && !queue.isPaused && !isHeldUp;
    const required = requiredWorkers({ state, live }, nowMs, timeouts);
    return [{ state, job, startState, required, isDue, hasReservation: isDue && nowMs < reservedUntilMs }];
  });
  return [...waiting.filter((run) => run.hasReservation), ...waiting.filter((run) => !run.hasReservation)];
}

/** Of the runs that a run begins after, those that have not finished. */
export function unfinishedBefore({ runs }: Pick<ClusterState, 'runs'>, { config }: RunState): readonly string[] {
  return config.queue.after.filter((runId) => runs.get(runId)?.state.status !== 'finished');
}

/**
 * Whether a run that cannot start yet keeps idle workers from the runs behind it. Without this a large run would never
 * see all its workers idle at once. A run that needs more workers than are connected blocks no other run.
 */
export function blocksQueue({ required, isDue, hasReservation }: WaitingRun, connected: WorkerCounts): boolean {
  const canStart = required.workers <= connected.workers && required.expertWorkers <= connected.expertWorkers;
  return isDue && (hasReservation || canStart);
}

/**
 * The fewest workers that a waiting run starts with now.
 *
 * A run that lost an expert worker goes on with those that are left. Any other run waits for all its workers at first, so
 * that workers which connect one after the other are all used. After `reservationMs` it starts with `fewestWorkers`.
 */
export function requiredWorkers(
  { state, live }: Pick<Run, 'state'> & { readonly live: Waiting },
  nowMs: number,
  { reservationMs }: Pick<Timeouts, 'reservationMs'>,
): WorkerCounts {
  if (live.minimumWorkers !== undefined) return live.minimumWorkers;
  return nowMs - live.sinceMs < reservationMs ? requestedWorkers(state.config) : fewestWorkers(state);
}

/**
 * The fewest workers that a run ever starts with: `minWorkers` of its configuration, else what its last generation had.
 * Without the latter, a run that lost a worker for good would wait for it for ever once it was interrupted.
 */
export function fewestWorkers({ config, lastWorkers }: RunState): WorkerCounts {
  const { workers, expertWorkers } = lastWorkers ?? requestedWorkers(config);
  return { workers: config.minWorkers ?? workers, expertWorkers };
}

/** The workers that a run asks for. */
export function requestedWorkers({ workers, expertWorkers }: RunConfig): WorkerCounts {
  return { workers, expertWorkers };
}
