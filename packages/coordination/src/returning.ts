import { releaseOne } from './admission.js';
import { type HeldRun, idleWorkers, type Reforming, rankOf, type Training, type Waiting } from './cluster-state.js';
import type { DecisionBuilder } from './decision-builder.js';
import { withMemoryFor } from './memory.js';
import { hasOtherMixture } from './mixture-requests.js';
import { checkpointFound } from './recovery.js';
import type { RunState } from './run-state.js';
import { requiredWorkers } from './scheduling.js';
import { VersionedMap } from './versioned-map.js';

/** How long the other members are awaited once one has come back. */
const OTHERS_MS = 3000;

/**
 * Handles a worker that comes back with the state of a run. If the log knows the same history, the worker is a member again;
 * otherwise it drops the state.
 */
export function takeBack(builder: DecisionBuilder, workerId: string, held: HeldRun): string {
  const { runId, generation } = held;
  const run = builder.findRun(runId);
  const refusal =
    run === undefined ? 'this coordinator does not know the run' : explainRefusal(run.state, workerId, held);
  const reason = refusal ?? (run === undefined || !isAwaited(run.live) ? 'the run has gone on without it' : undefined);
  if (run === undefined || reason !== undefined) {
    const discard = { discardState: true, reason: reason ?? '' };
    builder.command({ kind: 'release', workerIds: [workerId], runId, generation, ...discard });
    return `worker ${workerId} drops step ${held.step} of run ${runId}: ${reason}`;
  }
  const isPaused = builder.queue.state.isPaused || builder.queue.jobOf(runId)?.state !== 'waiting';
  if (run.live.state === 'waiting' && isPaused) {
    builder.changeWorker(workerId, { held });
    return `worker ${workerId} holds step ${held.step} of run ${runId}, which is paused`;
  }
  builder.changeWorker(workerId, { runId });
  catchUp(builder, run.state, workerId, held);
  const live = run.live.state === 'reforming' ? run.live : beginReturn(builder, run.state, run.live as Waiting);
  const isRank = builder.worker(workerId)?.role === 'rank';
  const survivors = isRank ? [...live.survivors, workerId] : live.survivors;
  const isOfNewest = held.isTraining && generation === run.state.generation;
  const returns = live.returns && {
    ...live.returns,
    training: isOfNewest ? live.returns.training.with(workerId, true) : live.returns.training,
  };
  builder.setLive(runId, { ...live, survivors, returns });
  const step = run.state.step;
  return `worker ${workerId} is back in run ${runId} with step ${step}${continueGeneration(builder, runId)}`;
}

function isAwaited(live: { readonly state: string; readonly returnsUntilMs?: number | undefined }): boolean {
  return live.state === 'reforming' || (live.state === 'waiting' && live.returnsUntilMs !== undefined);
}

/** Why what a worker holds is not the state of the log; undefined when it is. */
function explainRefusal(state: RunState, workerId: string, held: HeldRun): string | undefined {
  const { generation, firstGeneration, lastMembers, step, lastCommit } = state;
  if (held.generation < firstGeneration || held.generation > generation)
    return `its generation ${held.generation} is not one of this log, ${firstGeneration} to ${generation}`;
  const wasRank = rankOf(lastMembers.ranks, workerId) >= 0;
  const wasMember = wasRank || lastMembers.experts.includes(workerId);
  if (held.generation === generation && !wasMember) return `it was no member of generation ${generation}`;
  if (held.step === step) {
    const isSame = held.loss === undefined ? held.generation === generation : isSameLoss(held.loss, state.loss);
    return isSame ? undefined : `its step ${step} had the loss ${held.loss}, that of the log ${state.loss}`;
  }
  if (held.step !== step - 1 || lastCommit?.generation !== held.generation)
    return `it holds step ${held.step}, and the log ends at step ${step}`;
  if (held.votedLoss === undefined && wasRank)
    return `it holds step ${held.step} without the gradients of step ${step}`;
  const isSame = held.votedLoss === undefined || isSameLoss(held.votedLoss, state.loss);
  return isSame
    ? undefined
    : `it voted for step ${step} with the loss ${held.votedLoss}, and the log has ${state.loss}`;
}

/** Logs have null for a loss that is not finite. */
function isSameLoss(held: number, logged: number | null): boolean {
  return logged === null ? !Number.isFinite(held) : held === logged;
}

/** The last step was committed, and the coordinator before did not tell this member: it holds all that it needs to apply it. */
function catchUp(
  builder: DecisionBuilder,
  { runId, step, lastCommit }: RunState,
  workerId: string,
  held: HeldRun,
): void {
  if (held.step === step || lastCommit === undefined) return;
  const { generation, apply, gradNorm, lossTokens } = lastCommit;
  const decision = { step, apply, gradNorm, lossTokens, leastCommunicationSeconds: 0 };
  builder.command({ kind: 'decideStep', workerIds: [workerId], runId, generation, ...decision });
}

/** The first worker is back: the run is active again, and waits a moment for the others. */
function beginReturn(builder: DecisionBuilder, state: RunState, { returnsUntilMs = 0 }: Waiting): Reforming {
  const { runId, reason, lastMembers, firstGeneration } = state;
  builder.queue.take(runId);
  // Reports of the last steps may have been lost with the coordinator before.
  builder.command({ kind: 'repairMetrics', runId });
  return {
    state: 'reforming',
    startState: undefined,
    experts: lastMembers.experts,
    arrivingExperts: [],
    firstGeneration,
    ringFailures: 0,
    unreported: [],
    survivors: [],
    sinceMs: builder.nowMs,
    awaitingHeartbeat: [],
    cause: reason,
    returns: { untilMs: Math.max(returnsUntilMs, builder.nowMs + OTHERS_MS), training: VersionedMap.empty() },
  };
}

/** Once all members of the newest generation are back and none of them has given it up, it goes on: no step is taken twice. */
function continueGeneration(builder: DecisionBuilder, runId: string): string {
  const { state, live } = builder.run(runId);
  if (live.state !== 'reforming' || live.returns === undefined) return '';
  const { ranks, experts } = state.lastMembers;
  const workerIds = [...ranks, ...experts];
  const { training } = live.returns;
  if (training.size < workerIds.length) return '';
  if (!workerIds.every((workerId) => training.has(workerId) && builder.worker(workerId)?.runId === runId)) return '';
  // They know of another mixture than the one of the next step: a new generation tells them.
  if (hasOtherMixture(state)) return '';
  const { generation, step } = state;
  // Of a generation before, and left behind by this one: its state is soon an old one.
  for (const { workerId } of builder.membersOf(runId))
    if (!training.has(workerId)) releaseOne(builder, workerId, runId, `generation ${generation} goes on without it`);
  builder.record(runId, { kind: 'continued', generation, step });
  const { isCheckpointAsked } = live;
  builder.setLive(runId, { ...trainingAgain(state), firstGeneration: live.firstGeneration, isCheckpointAsked });
  builder.command({ kind: 'continueGeneration', workerIds, runId, generation });
  return `; all its workers are back, and it goes on with generation ${generation} after step ${step}`;
}

/** The newest generation of a log as it goes on with all its members. */
export function trainingAgain({ generation, firstGeneration, lastMembers }: RunState): Training {
  const { ranks, experts } = lastMembers;
  return {
    state: 'training',
    generation,
    members: ranks,
    newcomers: [],
    savers: new Map([[generation, [...ranks, ...experts]]]),
    votes: VersionedMap.empty(),
    votesSinceMs: undefined,
    parts: new Map(),
    manifests: new Set(),
    stopAfterStep: undefined,
    preemptedBy: undefined,
    timing: undefined,
    startState: undefined,
    experts,
    arrivingExperts: [],
    firstGeneration,
    ringFailures: 0,
    unreported: [],
  };
}

/** Whether members that may come back are still awaited. */
export function areAwaited(builder: DecisionBuilder, { lastMembers }: RunState, { returns }: Reforming): boolean {
  if (returns === undefined || builder.nowMs >= returns.untilMs) return false;
  const members = [...lastMembers.ranks, ...lastMembers.experts];
  return members.some((workerId) => builder.worker(workerId)?.runId === undefined);
}

/** Looks again at workers that came back while their run was paused. */
export function takeBackHeld(builder: DecisionBuilder): string {
  const reasons = builder.workers.group('holding').flatMap(({ workerId, held }) => {
    if (held === undefined) return [];
    builder.changeWorker(workerId, { held: undefined });
    const reason = takeBack(builder, workerId, held);
    // Nothing has changed.
    return builder.worker(workerId)?.held === undefined ? reason : [];
  });
  return reasons.join('; ');
}

/**
 * Lets runs whose workers did not come back go on from their newest checkpoints, where they could start there. A run that
 * cannot start now loses nothing by waiting for its workers.
 */
export function giveUpReturns(builder: DecisionBuilder): string {
  const reasons = builder.queue.state.jobs.flatMap(({ runId, state: jobState }) => {
    const run = jobState === 'waiting' ? builder.findRun(runId) : undefined;
    if (run?.live.state !== 'waiting' || run.live.returnsUntilMs === undefined) return [];
    const { state, live } = run;
    const { found, returnsUntilMs = 0 } = live;
    if (found === undefined || builder.nowMs < returnsUntilMs) return [];
    const required = requiredWorkers({ state, live }, builder.nowMs, builder.timeouts);
    const idle = idleWorkers(builder);
    if (idle.workers < required.workers || idle.expertWorkers < required.expertWorkers) return [];
    if (withMemoryFor(builder, state.config, builder.idle('rank')).length < required.workers) return [];
    builder.setLive(runId, { ...live, returnsUntilMs: undefined, found: undefined });
    return checkpointFound(builder, runId, found);
  });
  return reasons.join('; ');
}

/** Some experts did not come back: what the others hold is not the whole state. */
export function lacksExperts(builder: DecisionBuilder, { runId }: RunState, { experts }: Reforming): boolean {
  return experts.some((workerId) => builder.worker(workerId)?.runId !== runId);
}
