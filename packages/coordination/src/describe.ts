import { plural } from '@weft/common';
import type { RunStatus, RunView } from '@weft/contracts';
import { type ClusterState, connectedWorkers, idleWorkers, type Run, type Waiting } from './cluster-state.js';
import { divergedSince } from './divergence.js';
import { forecastQueue, nextCheckpointStep } from './estimates.js';
import type { RunState, WorkerCounts } from './run-state.js';
import { fewestWorkers, requiredWorkers, unfinishedBefore } from './scheduling.js';

/** A run as people see it, without its directory, which only the coordinator's process knows. */
export type RunDescription = Omit<RunView, 'directory'> & { readonly status: RunStatus };

/** Undefined when there is no such run. */
export function describeRun(cluster: ClusterState, runId: string): RunDescription | undefined {
  const run = cluster.runs.get(runId);
  if (run === undefined) return undefined;
  const { state, live } = run;
  const forecast = forecastQueue(cluster);
  return {
    runId,
    recipe: state.config.recipe,
    status: state.status,
    step: state.step,
    steps: state.config.steps,
    workers: state.config.workers,
    worldSize: live.state === 'training' ? live.members.length : 0,
    generation: state.generation,
    reason: explainStatus(cluster, run),
    checkpointStep: state.checkpointStep,
    createdAtMs: state.createdAtMs,
    updatedAtMs: state.updatedAtMs,
    failure: state.failure ?? null,
    loss: state.loss,
    queuePosition: forecast.positions.get(runId) ?? null,
    priority: forecast.jobs.get(runId)?.priority ?? state.config.queue.priority,
    expectedStartMs: forecast.expectedStartMs.get(runId) ?? null,
    parent: state.parent,
    failedAttempts: state.failedAttempts,
    maxAttempts: state.config.queue.maxAttempts,
  };
}

/** Why a run has its status, one sentence without its full stop. */
function explainStatus(cluster: ClusterState, { state, live }: Run): string {
  switch (live.state) {
    case 'ended':
      return state.reason;
    case 'waiting': {
      const { failure, failedAttempts, config, reason } = state;
      const failed = `attempt ${failedAttempts} of ${config.queue.maxAttempts} failed: ${failure?.message}`;
      const past = failure === undefined ? reason : failed;
      if (live.returnsUntilMs !== undefined)
        return `${past}; it goes on if its workers come back with step ${state.step}, and goes back to ${describeFound(live)} if others are there for it: ${explainWaiting(cluster, state, live)}`;
      if (live.startState === undefined) return `${past}; its newest checkpoint is being looked up`;
      return `${past}; ${explainWaiting(cluster, state, live)}`;
    }
    case 'reforming':
      return `the ring forms again: ${live.cause}`;
    case 'training': {
      const { workers, steps } = state.config;
      const world = live.members.length;
      const ranks = world === workers ? plural(world, 'worker') : `${world} of ${plural(workers, 'worker')}`;
      const experts = live.experts.length;
      const members = experts === 0 ? ranks : `${ranks} and ${plural(experts, 'expert worker')}`;
      if (state.step === steps) return 'its last checkpoint is being written';
      if (live.stopAfterStep === undefined)
        return `it trains step ${state.step + 1} of ${steps} on ${members}${explainJoining(cluster, state, world)}${explainDivergence(state)}${explainPreemption(cluster, state)}`;
      if (live.preemptedBy !== undefined && state.status === 'running')
        return `it leaves its workers to run ${live.preemptedBy} once its checkpoint of step ${live.stopAfterStep} is written`;
      if (live.isLeft === true && state.status === 'running')
        return `its last workers were asked to end, and save step ${live.stopAfterStep} first`;
      return `${state.reason}: it ends after step ${live.stopAfterStep} and its checkpoint`;
    }
  }
}

function describeFound({ found }: Waiting): string {
  if (found === undefined) return 'its newest checkpoint';
  return found.checkpoint === undefined ? 'its beginning' : `the checkpoint of step ${found.checkpoint.step}`;
}

function explainJoining({ workers }: ClusterState, { runId, config }: RunState, members: number): string {
  const joining = workers.group(`joining/${runId}`);
  const missing = Math.min(joining.length, Math.max(0, config.workers - members));
  const spares = joining.length - missing;
  const ready = joining.some((worker) => worker.joining?.isReady === true) ? 'is ready' : 'gets ready';
  return [
    ...(missing === 0 ? [] : [`, and ${plural(missing, 'more worker')} will join`]),
    ...(spares === 0 ? [] : [`, and ${spares === 1 ? 'a spare' : `${spares} spares`} ${ready}`]),
  ].join('');
}

function explainDivergence(state: RunState): string {
  const since = divergedSince(state);
  return since === undefined ? '' : `; it has diverged since step ${since}`;
}

function explainPreemption(cluster: ClusterState, state: RunState): string {
  const preemptedBy = forecastQueue(cluster).preemptions.get(state.runId);
  return preemptedBy === undefined
    ? ''
    : `, and leaves them to run ${preemptedBy} after step ${nextCheckpointStep(state)}`;
}

/** What a queued run waits for. */
function explainWaiting(cluster: ClusterState, state: RunState, live: Waiting): string {
  const { jobs, positions, preemptions } = forecastQueue(cluster);
  const job = jobs.get(state.runId);
  if (job?.state === 'paused') return 'it is paused';
  if (job?.state === 'delayed') return `it waits until ${new Date(job.notBeforeMs).toISOString()}`;
  if (cluster.queue.isPaused) return 'the queue is paused';
  const [before] = unfinishedBefore(cluster, state);
  if (before !== undefined) return `it waits for run ${before}, which ${explainUnfinished(cluster, before)}`;
  if (live.shortage !== undefined)
    return `it waits for workers with more memory: ${live.shortage.message}; ${live.shortage.hint}`;
  const preempted = [...preemptions].flatMap(([runId, by]) => (by === state.runId ? runId : []));
  if (preempted.length > 0) return `it takes the workers of ${preempted.join(', ')} at their next checkpoint`;
  const position = positions.get(state.runId) ?? 1;
  if (position === 1) return explainMissingWorkers(cluster, state, live);
  const required = requiredWorkers({ state, live }, cluster.lastTickMs ?? 0, cluster.timeouts);
  return `it is number ${position} in the queue, ${countAvailable(cluster, required)}`;
}

function explainUnfinished({ runs }: ClusterState, runId: string): string {
  const status = runs.get(runId)?.state.status;
  if (status === undefined) return 'this coordinator does not know';
  const isOver = status === 'failed' || status === 'stopped';
  return isOver ? `has ${status}; to go on: \`weft resume ${runId}\`` : 'has not finished';
}

function explainMissingWorkers(cluster: ClusterState, state: RunState, live: Waiting): string {
  const required = requiredWorkers({ state, live }, cluster.lastTickMs ?? 0, cluster.timeouts);
  const idle = idleWorkers(cluster);
  const missing = Math.max(0, required.workers - idle.workers);
  const connected = connectedWorkers(cluster).expertWorkers;
  const missingExperts = Math.max(0, required.expertWorkers - idle.expertWorkers);
  const help = explainFewerWorkers(cluster, state, required);
  if (missing === 0 && missingExperts > 0)
    return `it waits for ${plural(missingExperts, 'more expert worker')}: it needs ${required.expertWorkers}, and ${connected} ${are(connected)} connected${help}`;
  return `it waits for ${plural(missing, 'more worker')}: ${countAvailable(cluster, required)}${help}`;
}

/** How a run that has trained goes on when the cluster has too few workers for it. */
function explainFewerWorkers(cluster: ClusterState, state: RunState, required: WorkerCounts): string {
  const connected = connectedWorkers(cluster);
  const fewest = fewestWorkers(state);
  if (fewest.workers <= connected.workers && fewest.expertWorkers <= connected.expertWorkers) {
    const isReduced = fewest.workers < required.workers || fewest.expertWorkers < required.expertWorkers;
    return isReduced ? `; without them it starts in a moment, on ${plural(fewest.workers, 'worker')}` : '';
  }
  const { runId, generation, config } = state;
  const workers = Math.min(config.workers, connected.workers);
  const experts = Math.min(required.expertWorkers, connected.expertWorkers);
  if (generation === 0 || workers === 0 || (required.expertWorkers > 0 && experts === 0)) return '';
  const options = [
    ...(workers < required.workers ? [`--workers ${workers}`] : []),
    ...(experts < required.expertWorkers ? [`--expert-workers ${experts}`] : []),
  ];
  return options.length === 0 ? '' : `; to go on without them: \`weft resume ${runId} ${options.join(' ')}\``;
}

function countAvailable(cluster: ClusterState, required: WorkerCounts): string {
  const connected = connectedWorkers(cluster).workers;
  const idle = idleWorkers(cluster).workers;
  return `it needs ${required.workers}, ${connected} ${are(connected)} connected and ${idle} of them ${are(idle)} idle`;
}

function are(count: number): string {
  return count === 1 ? 'is' : 'are';
}
