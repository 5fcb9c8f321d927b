import type { ClusterState, Run } from './cluster-state.js';
import { nextCheckpoint } from './next-checkpoint.js';
import { outlookOf } from './outlook.js';
import { areIdle, expertWorkers, rankWorkers } from './roles.js';
import type { RunState } from './run-state.js';
import { crewOf } from './turn-order.js';

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
      const ranks = world === workers ? plural(world, 'worker') : `${world} of ${plural(workers, 'worker')}`;
      const experts = live.experts.length;
      const on = experts === 0 ? ranks : `${ranks} and ${plural(experts, 'expert worker')}`;
      if (state.step === steps) return 'its last checkpoint is being written';
      if (live.stopAfterStep === undefined)
        return `it trains step ${state.step + 1} of ${steps} on ${on}${yields(cluster, state)}`;
      if (live.yieldsTo !== undefined && state.status === 'running')
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
  const missing = Math.max(0, state.config.workers - areIdle(rankWorkers(cluster)).length);
  const live = cluster.runs.get(state.runId)?.live;
  const { expertWorkers: wanted } = (live?.stage === 'waiting' && live.settlesFor) || crewOf(state.config);
  const attending = expertWorkers(cluster);
  const missingExperts = Math.max(0, wanted - areIdle(attending).length);
  if (missing === 0 && missingExperts > 0)
    return `it waits for ${plural(missingExperts, 'more expert worker')}: it needs ${wanted}, and ${attending.length} attend`;
  return `it waits for ${plural(missing, 'more worker')}: ${needs(cluster, state)}`;
}

function needs(cluster: ClusterState, state: RunState): string {
  const attending = rankWorkers(cluster);
  const idle = areIdle(attending).length;
  return `it needs ${state.config.workers}, ${attending.length} attend and ${idle} of them ${idle === 1 ? 'is' : 'are'} idle`;
}

function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}
