import { newcomersWait, newExpertsFailed } from './admission.js';
import type { ConnectedWorker, Reforming, RetainedState, Training } from './cluster-state.js';
import { describeMember, memberIndex } from './cluster-state.js';
import type { DecisionBuilder } from './decision-builder.js';
import type { EventOf } from './events.js';
import { canGoOnWithoutExperts, newExperts } from './expert-copies.js';
import { lookForCheckpoint } from './find-checkpoint.js';
import { flushMetrics } from './metrics.js';
import { noteUnreachable } from './reachability.js';
import { returnsUntil } from './recovery.js';
import type { WorkerCounts } from './run-state.js';
import { fail, lastStepOfGeneration, release } from './run-termination.js';

/** Handles a lost worker: the others keep their state and form a new ring. If none is left, the run is queued. */
export function workerLost(builder: DecisionBuilder, worker: ConnectedWorker, runId: string, reason: string): string {
  const { live, state } = builder.run(runId);
  const { workerId, hostName } = worker;
  if (live.state !== 'training' && live.state !== 'reforming') return '';
  const { generation } = state;
  builder.record(runId, { kind: 'workerLost', generation, ...memberIndex(live, workerId), workerId, hostName, reason });
  const cause = `${describeMember(live, workerId)} (${workerId} on ${hostName}) was lost: ${reason}`;
  if (live.state === 'training' && onlyRank0IsNeeded(builder, runId, live)) return cause;
  const isLost = () => state.step === live.startState?.step || !canGoOnWithoutExperts(builder, state, []);
  if (worker.role === 'expertWorker' && isLost()) return `${cause}; ${expertsLost(builder, runId, live, cause)}`;
  const survivors =
    live.state === 'reforming' ? live.survivors.filter((each) => each !== workerId) : holders(builder, runId, live);
  if (survivors.length === 0) return `${cause}; ${abandon(builder, runId, live, `it lost its last worker (${cause})`)}`;
  if (live.state === 'training') {
    release(builder, runId, { discardState: false, reason: cause });
    newcomersWait(builder, live, runId, false);
  }
  builder.setLive(runId, {
    ...retainedState(live),
    state: 'reforming',
    sinceMs: builder.nowMs,
    survivors,
    // A ring that broke just before is explained by this loss, so the others need not prove that they are alive.
    awaitingHeartbeat: [],
    ringFailures: 0,
    cause,
  });
  if (worker.role === 'expertWorker') return `${cause}; run ${runId} goes on with the copy of its experts`;
  return `${cause}; run ${runId} goes on with ${survivors.length} of ${state.config.workers} workers`;
}

/** Every part of the last checkpoint is on disk and rank 0 is connected: it only has to write the manifest. */
function onlyRank0IsNeeded(builder: DecisionBuilder, runId: string, live: Training): boolean {
  const lastStep = lastStepOfGeneration(builder.run(runId).state, live);
  return live.manifests.has(lastStep) && builder.worker(live.members[0]!)?.runId === runId;
}

/** Some experts now exist only in the newest checkpoint: all members go back to it, without the lost worker. */
export function expertsLost(
  builder: DecisionBuilder,
  runId: string,
  live: Training | Reforming,
  cause: string,
): string {
  const workers = builder.workers.count(`members/${runId}/rank`);
  const expertWorkers = builder.workers.count(`members/${runId}/expertWorker`);
  // Without any worker of a role the run cannot go on.
  const minimumWorkers = { workers: Math.max(1, workers), expertWorkers: Math.max(1, expertWorkers) };
  return abandon(builder, runId, live, `it lost experts (${cause})`, minimumWorkers);
}

/** No worker holds the whole state of the run any more: it goes back to its newest checkpoint, or stops. */
function abandon(
  builder: DecisionBuilder,
  runId: string,
  live: Training | Reforming,
  why: string,
  minimumWorkers?: WorkerCounts,
): string {
  const { state } = builder.run(runId);
  flushMetrics(builder, runId, live.unreported);
  release(builder, runId, { discardState: true, reason: why });
  if (state.status === 'stopping') {
    const reason = `${why} before its checkpoint was written; go on from the newest checkpoint with \`weft resume ${runId}\``;
    builder.setLive(runId, { state: 'ended' });
    builder.record(runId, { kind: 'stopped', step: state.step, reason });
    builder.queue.end(runId, { kind: 'cancelled', reason });
    return `run ${runId} is stopped without its checkpoint`;
  }
  builder.record(runId, { kind: 'requeued', reason: why });
  const sinceMs = builder.nowMs;
  const reservedUntilMs = sinceMs + builder.timeouts.reservationMs;
  // Perhaps only the coordinator was cut off. Where experts are lost, the others have dropped what they held.
  const mayReturn = minimumWorkers === undefined && state.lastCommit !== undefined;
  const returnsUntilMs = mayReturn ? returnsUntil(builder) : undefined;
  builder.setLive(runId, {
    state: 'waiting',
    ...{ sinceMs, startState: undefined, reservedUntilMs, minimumWorkers, returnsUntilMs },
  });
  builder.queue.requeue(runId);
  builder.command(lookForCheckpoint(state));
  if (minimumWorkers === undefined) return `run ${runId} has no worker left and is queued`;
  return `run ${runId} goes back to its newest checkpoint, on ${minimumWorkers.workers} workers and ${minimumWorkers.expertWorkers} expert workers`;
}

/**
 * A member's ring broke while the member itself is alive. Usually another member died and the coordinator has not noticed
 * yet. So it waits until every other member has sent something or is lost; then the ring forms again.
 */
export function ringBroken(builder: DecisionBuilder, event: EventOf<'ringBroken'>): string {
  const { runId, workerId, generation, step, reason } = event;
  const { live, state } = builder.run(runId);
  // Whom it could not reach is so, whatever has become of the generation.
  const unreachable = noteUnreachable(builder, event);
  if (live.state !== 'training' || live.generation !== generation)
    return `generation ${generation} of run ${runId} is already over`;
  const cause = `the ring broke at ${describeMember(live, workerId)} in step ${step}: ${reason}`;
  if (onlyRank0IsNeeded(builder, runId, live)) return cause;
  builder.record(runId, { kind: 'ringBroke', generation, ...memberIndex(live, workerId), step, reason });
  // A ring that does not form with newcomers says nothing about the members before, and who cannot be reached is left out.
  const arrived = newExperts(state, live);
  const isExplained = live.newcomers.length + arrived.length > 0 || unreachable.length > 0;
  const ringFailures = live.ringFailures + (isExplained ? 0 : 1);
  if (ringFailures >= builder.timeouts.maxRingFailures)
    return fail(builder, runId, {
      code: 'unavailable',
      message: `the ring broke ${ringFailures} times in a row without a step between; the last time, ${cause}`,
      hint: 'check that the workers reach each other at their data-plane addresses, then resume the run',
    });
  release(builder, runId, { discardState: false, reason: cause });
  const survivors = holders(builder, runId, live);
  newcomersWait(builder, live, runId, true);
  newExpertsFailed(builder, runId, arrived);
  builder.setLive(runId, {
    ...retainedState(live),
    state: 'reforming',
    sinceMs: builder.nowMs,
    survivors,
    awaitingHeartbeat: [...survivors, ...live.experts].filter((member) => member !== workerId),
    ringFailures,
    cause,
  });
  return `${cause}; run ${runId} waits for a heartbeat of every member`;
}

/** The connected ranks that hold the run's state. */
function holders(builder: DecisionBuilder, runId: string, live: Training | Reforming): readonly string[] {
  const newcomers = live.state === 'training' ? live.newcomers : [];
  const members = builder.membersOf(runId, 'rank').map(({ workerId }) => workerId);
  return members.filter((workerId) => !newcomers.includes(workerId));
}

function retainedState(live: RetainedState): RetainedState {
  const { startState, experts, arrivingExperts, firstGeneration, isCheckpointAsked, ringFailures, unreported } = live;
  return { startState, experts, arrivingExperts, firstGeneration, isCheckpointAsked, ringFailures, unreported };
}
