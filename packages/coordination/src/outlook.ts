import type { ClusterState, Run, Training } from './cluster-state.js';
import { lastStepOf } from './endings.js';
import { nextCheckpoint } from './next-checkpoint.js';
import { msPerStep } from './pace.js';
import { yieldingRuns } from './preemption.js';
import type { QueuedJob } from './queue-state.js';
import { areIdle, rankWorkers } from './roles.js';
import { type WaitingRun, waitingRuns } from './turn-order.js';

/** What is to be expected of the queue. */
export interface Outlook {
  /** By runId: the jobs of runs that have not ended. */
  readonly jobs: ReadonlyMap<string, QueuedJob>;
  /** By runId, from 1; those that a person paused, or whose time has not come, have none. */
  readonly places: ReadonlyMap<string, number>;
  /** By runId, milliseconds since the epoch; only where the speed of all that comes before is known. */
  readonly expectedStartMs: ReadonlyMap<string, number>;
  /** Runs at work that leave their workers at their next checkpoint, and to whom. */
  readonly yielding: ReadonlyMap<string, string>;
}

interface Ending {
  readonly atMs: number;
  readonly workers: number;
}

const outlooks = new WeakMap<ClusterState, Outlook>();

/** The outlook of a state, worked out once. */
export function outlookOf(cluster: ClusterState): Outlook {
  const known = outlooks.get(cluster);
  if (known !== undefined) return known;
  const nowMs = cluster.lastTickMs ?? 0;
  const waiting = waitingRuns(cluster, nowMs);
  const numbered = waiting.filter(({ job }) => job.state === 'waiting');
  const yielding = yieldingRuns(cluster, nowMs);
  const outlook: Outlook = {
    jobs: new Map(cluster.queue.jobs.map((job) => [job.runId, job])),
    places: new Map(numbered.map(({ state }, index) => [state.runId, index + 1])),
    expectedStartMs: expectedStarts(cluster, waiting, yielding, nowMs),
    yielding,
  };
  outlooks.set(cluster, outlook);
  return outlook;
}

/** Plays the queue forward, run after run, until a duration is not known. */
function expectedStarts(
  cluster: ClusterState,
  waiting: readonly WaitingRun[],
  yielding: Outlook['yielding'],
  nowMs: number,
): Outlook['expectedStartMs'] {
  const starts = new Map<string, number>();
  const endings = endingsOf(cluster, yielding, nowMs);
  let free = areIdle(rankWorkers(cluster)).length;
  let clockMs = nowMs;
  for (const { state, isDue } of waiting) {
    const { workers, steps } = state.config;
    if (!isDue || workers > rankWorkers(cluster).length) continue;
    while (free < workers) {
      const next = endings.shift();
      if (next === undefined) return starts;
      clockMs = Math.max(clockMs, next.atMs);
      free += next.workers;
    }
    free -= workers;
    starts.set(state.runId, clockMs);
    const stepMs = msPerStep(cluster.paces, state.config, workers);
    if (stepMs !== undefined) insert(endings, { atMs: clockMs + (steps - state.step) * stepMs, workers });
  }
  return starts;
}

/** When the runs at work let go of their workers, where that is known, soonest first. */
function endingsOf(cluster: ClusterState, yielding: Outlook['yielding'], nowMs: number): Ending[] {
  const endings: Ending[] = [];
  for (const { runId, state } of cluster.queue.jobs) {
    const run = state === 'active' ? cluster.runs.get(runId) : undefined;
    if (run?.live.stage !== 'training') continue;
    const { durable, live } = run;
    const stepMs = msPerStep(cluster.paces, durable.config, live.members.length);
    if (stepMs === undefined) continue;
    const steps = endStep(run, live, yielding) - durable.step;
    const sinceMs = live.pace?.lastMs ?? nowMs;
    insert(endings, { atMs: Math.max(nowMs, sinceMs + steps * stepMs), workers: live.members.length });
  }
  return endings;
}

function endStep({ durable }: Run, live: Training, yielding: Outlook['yielding']): number {
  return yielding.has(durable.runId) ? nextCheckpoint(durable) : lastStepOf(durable, live);
}

function insert(endings: Ending[], ending: Ending): void {
  const at = endings.findIndex(({ atMs }) => atMs > ending.atMs);
  endings.splice(at < 0 ? endings.length : at, 0, ending);
}
