import type { ClusterState, Run } from './cluster-state.js';
import { nextCheckpoint } from './next-checkpoint.js';
import { outlookOf } from './outlook.js';
import type { RunState } from './run-state.js';

/** Why a run is as it is, one sentence without its full stop. */
export function reasonOf(cluster: ClusterState, { durable: state, live }: Run): string {
  switch (live.stage) {
    case 'ended':
      return state.reason;
    case 'waiting': {
      const { failure, failedAttempts, config, reason } = state;
      const failed = `attempt ${failedAttempts} of ${config.queue.maxAttempts} failed: ${failure?.message}`;
      const past = failure === undefined ? reason : failed;
      if (live.origin === undefined) return `${past}; its newest checkpoint is being looked up`;
      return `${past}; ${waitsFor(cluster, state)}`;
    }
    case 'reforming':
      return `the ring forms anew: ${live.cause}`;
    case 'training': {
      const { workers, steps } = state.config;
      const world = live.members.length;
      const on = world === workers ? plural(world, 'worker') : `${world} of ${plural(workers, 'worker')}`;
      if (state.step === steps) return 'its last checkpoint is being written';
      if (live.stopAfterStep === undefined)
        return `it trains step ${state.step + 1} of ${steps} on ${on}${yields(cluster, state)}`;
      if (live.yieldsTo !== undefined && state.phase === 'running')
        return `it leaves its workers to run ${live.yieldsTo} once its checkpoint of step ${live.stopAfterStep} is written`;
      return `${state.reason}: it ends after step ${live.stopAfterStep} and its checkpoint`;
    }
  }
}

function yields(cluster: ClusterState, state: RunState): string {
  const to = outlookOf(cluster).yielding.get(state.runId);
  return to === undefined ? '' : `, and leaves them to run ${to} after step ${nextCheckpoint(state)}`;
}

/** What is missing until a waiting run may start. */
function waitsFor(cluster: ClusterState, state: RunState): string {
  const { jobs, places, yielding } = outlookOf(cluster);
  const job = jobs.get(state.runId);
  if (job?.state === 'held') return 'it is paused';
  if (job?.state === 'delayed') return `it waits until ${new Date(job.notBeforeMs).toISOString()}`;
  if (cluster.queue.isPaused) return 'the queue is paused';
  const makingRoom = [...yielding].flatMap(([runId, to]) => (to === state.runId ? runId : []));
  if (makingRoom.length > 0) return `it takes the workers of ${makingRoom.join(', ')} at their next checkpoint`;
  const place = places.get(state.runId) ?? 1;
  return place === 1 ? missingWorkers(cluster, state) : `it is number ${place} in the queue, ${needs(cluster, state)}`;
}

function missingWorkers(cluster: ClusterState, state: RunState): string {
  const missing = Math.max(0, state.config.workers - idleWorkers(cluster));
  return `it waits for ${plural(missing, 'more worker')}: ${needs(cluster, state)}`;
}

function needs(cluster: ClusterState, state: RunState): string {
  const idle = idleWorkers(cluster);
  return `it needs ${state.config.workers}, ${cluster.workers.size} attend and ${idle} of them ${idle === 1 ? 'is' : 'are'} idle`;
}

function idleWorkers({ workers }: ClusterState): number {
  return [...workers.values()].filter(({ runId }) => runId === undefined).length;
}

function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}
