import type { PerSource } from '@weft/common';
import type { RunFailure, StepVote } from '@weft/contracts';
import { combineDigests, ledgerEntry, scheduleOf } from '@weft/mixture';
import { dueChange, isMeasured } from './admission.js';
import { saveIsDue } from './checkpoint-schedule.js';
import { memberIds, rankOf, type Training } from './cluster-state.js';
import type { DecisionBuilder } from './decision-builder.js';
import { describeSpike, divergedSince, findSpike, type Spike } from './divergence.js';
import { extendTiming, learnStepTime } from './estimates.js';
import type { EventOf } from './events.js';
import { newExperts } from './expert-copies.js';
import { forgetHangs } from './hangs.js';
import { committedStep, flushMetrics } from './metrics.js';
import { mixtureIsDue } from './mixture-requests.js';
import { stopIfPreempted } from './preemption.js';
import { changeMembership } from './ring-formation.js';
import { mayRollBack, rollBack } from './rollback.js';
import type { RunState } from './run-state.js';
import { fail, lastStepOfGeneration } from './run-termination.js';
import { learnStepMs, watchFrom } from './step-watch.js';
import { learnSlowSteps, nameStragglers } from './stragglers.js';
import { VersionedMap } from './versioned-map.js';

/** First phase of a commit: counts the vote of a rank. The vote of the last rank commits the step. */
export function voted(builder: DecisionBuilder, { runId, workerId, generation, vote }: EventOf<'voted'>): string {
  const { live, state } = builder.run(runId);
  if (live.state !== 'training' || live.generation !== generation)
    return `generation ${generation} of run ${runId} is already over: the vote does not count`;
  const rank = rankOf(live.members, workerId);
  if (vote.step !== state.step + 1 || vote.step > lastStepOfGeneration(state, live) || live.votes.has(rank))
    return fail(builder, runId, describeWrongStep(state, live, rank, vote));
  const votes = live.votes.with(rank, vote);
  const voting: Training = { ...live, votes, votesSinceMs: live.votesSinceMs ?? builder.nowMs };
  builder.setLive(runId, voting);
  return votes.size === live.members.length ? commit(builder, state, voting) : '';
}

/** Second phase: if the ranks agree, the step is recorded, and all of them get the order to apply or to skip it. */
function commit(builder: DecisionBuilder, state: RunState, live: Training): string {
  const { runId, config } = state;
  const votes = live.members.map((_, rank) => live.votes.get(rank)!);
  const { step, loss, gradNorm, lossTokens } = votes[0]!;
  const sourceLoss = finiteLosses(votes[0]!);
  const allFinite = votes.every(({ finite }) => finite);
  const disagreement = allFinite ? findDisagreement(votes) : undefined;
  if (disagreement !== undefined) return fail(builder, runId, disagreement);
  const hasTargets = lossTokens > 0 || !allFinite;
  const measured = { loss, gradNorm, sourceLoss };
  const spike = allFinite && hasTargets ? findSpike(state.recent, measured, config.divergence) : undefined;
  const apply = allFinite && hasTargets && (spike === undefined || config.divergence.policy !== 'skip');
  const { generation } = live;
  const digest = combineDigests(votes.map(({ sequenceDigest }) => sequenceDigest));
  const schedule = scheduleOf(config);
  const record = {
    kind: 'committed',
    entry: ledgerEntry(
      schedule,
      config.globalBatchSize,
      { step, generation, digest, loss, applied: apply },
      config.data.skippedBatches,
    ),
    gradNorm: Number.isFinite(gradNorm) ? gradNorm : null,
    lossTokens,
    worldSize: votes.length,
    ...(sourceLoss === undefined ? {} : { sourceLoss }),
    ...(spike === undefined ? {} : { spike }),
  } as const;
  const committed = builder.record(runId, record);
  // A rank sends its reports before its next vote, so the steps still without a report stay without one.
  flushMetrics(builder, runId, live.unreported);
  const due = saveIsDue(committed, votes.length, live.saveAskedMs ?? 0, builder.nowMs);
  const isAsked = live.isCheckpointAsked === true || due !== undefined;
  const isSaved = isAsked || step % config.checkpoint.everySteps === 0;
  const timing = extendTiming(live.timing, step, builder.nowMs);
  builder.stepTimes = learnStepTime(builder.stepTimes, config, votes.length, timing);
  const isUsual = (!isSaved || config.checkpoint.everySteps === 1) && !isMeasured(config, step);
  const training: Training = {
    ...live,
    isCheckpointAsked: undefined,
    newcomers: [],
    arrivingExperts: [],
    ...(isSaved ? { saveAskedMs: builder.nowMs } : {}),
    votes: VersionedMap.empty(),
    votesSinceMs: undefined,
    ringFailures: 0,
    unreported: [committedStep({ ...record, time: builder.time })],
    timing,
    stepMs: learnStepMs(live, builder.nowMs),
    watch: watchFrom(builder.nowMs, isUsual),
    slowSteps: learnSlowSteps(live.slowSteps, votes, config.stragglers),
  };
  builder.setLive(runId, training);
  forgetHangs(builder, training);
  const ended = endDivergence(builder, committed, spike);
  if (ended !== undefined) return ended;
  stopIfPreempted(builder, runId);
  notifyOfSpike(builder, committed, spike);
  for (const workerId of [...live.newcomers, ...newExperts(state, live)])
    builder.changeWorker(workerId, { joinFailures: undefined });
  const stragglers = nameStragglers(builder, committed, votes);
  const leastCommunicationSeconds = Math.min(...votes.map((vote) => vote.communicationSeconds ?? 0));
  const decision = { step, apply, gradNorm, lossTokens, leastCommunicationSeconds };
  const toMembers = { workerIds: memberIds(live), runId, generation };
  const change = dueChange(builder, runId, isSaved) ?? mixtureIsDue(builder, runId);
  if (change !== undefined) builder.command({ kind: 'endGeneration', ...toMembers, afterStep: step });
  builder.command({ kind: 'decideStep', ...toMembers, ...decision, ...(isAsked ? { save: true } : {}) });
  const reasons = [
    ...(apply
      ? []
      : [
          `it is not applied${hasTargets ? '' : ': no targets in this step'}${allFinite ? '' : ': its gradients are not finite'}`,
        ]),
    ...(spike === undefined ? [] : [describeSpike(spike, step)]),
    ...(due === undefined ? [] : [due]),
    ...stragglers,
    ...(change === undefined ? [] : [changeMembership(builder, runId, change)]),
  ];
  return [`step ${step} of run ${runId} is committed`, ...reasons].join('; ');
}

/** The losses of sources that a log can hold; undefined where there are none. */
function finiteLosses({ sourceLoss = {} }: StepVote): PerSource<number> | undefined {
  const finite = Object.entries(sourceLoss).filter(([, loss]) => Number.isFinite(loss));
  return finite.length === 0 ? undefined : Object.fromEntries(finite);
}

/** What the policy of a run does when it has diverged; undefined where it trains on. */
function endDivergence(builder: DecisionBuilder, state: RunState, spike: Spike | undefined): string | undefined {
  const { runId, step, skippedInARow, config } = state;
  if (skippedInARow >= builder.timeouts.maxSkippedSteps)
    return mayRollBack(state)
      ? rollBack(builder, state, step - skippedInARow + 1, spike)
      : fail(builder, runId, describeSkippedSteps(state));
  const since = divergedSince(state);
  if (since === undefined || config.divergence.policy === 'warn') return undefined;
  if (mayRollBack(state)) return rollBack(builder, state, since, spike);
  return fail(builder, runId, describeDivergence(state, since, spike));
}

/** When a spike begins, and once more when it has lasted for so long that the run has diverged. */
function notifyOfSpike(builder: DecisionBuilder, state: RunState, spike: Spike | undefined): void {
  const { runId, step, recent, config } = state;
  const { policy, patienceSteps } = config.divergence;
  if (spike === undefined || recent.spikingSince === null) return;
  const lasted = step - recent.spikingSince + 1;
  if (lasted !== 1 && lasted !== patienceSteps) return;
  const what = describeSpike(spike, step);
  const consequence = policy === 'skip' ? '; the step is not applied' : '';
  const sentence =
    lasted < patienceSteps
      ? `${what}${consequence}`
      : `the run has diverged since step ${recent.spikingSince}: ${what}`;
  builder.command({ kind: 'notify', runId, sentence });
}

/** The all-reduce gives every rank the same bits, so any difference means that the ranks hold different models. */
function findDisagreement(votes: readonly StepVote[]): RunFailure | undefined {
  const first = votes[0]!;
  for (const name of ['loss', 'gradNorm', 'lossTokens'] as const) {
    const others = votes.flatMap((vote, rank) =>
      Object.is(vote[name], first[name]) ? [] : `${vote[name]} on rank ${rank}`,
    );
    if (others.length === 0) continue;
    return {
      code: 'internal',
      message: `the ranks disagree on ${name} in step ${first.step}: ${first[name]} on rank 0, ${others.join(', ')}`,
      hint: 'resume the run from its newest checkpoint, and report this: the ranks no longer hold the same model',
    };
  }
  return undefined;
}

function describeWrongStep(state: RunState, live: Training, rank: number, vote: StepVote): RunFailure {
  const lastStep = lastStepOfGeneration(state, live);
  const detail = live.votes.has(rank) ? 'which it voted for before' : `and step ${lastStep} is the last`;
  return {
    code: 'internal',
    message: `rank ${rank} voted for step ${vote.step} out of order: the open step is ${state.step + 1}, ${detail}`,
    hint: 'resume the run from its newest checkpoint, and report this',
  };
}

function describeSkippedSteps({ step, skippedInARow, config }: RunState): RunFailure {
  const orSpikes = config.divergence.policy === 'skip' ? ', or spikes,' : '';
  return {
    code: 'failed_precondition',
    message: `the gradients were not finite${orSpikes} in ${skippedInARow} steps in a row, ${step - skippedInARow + 1} to ${step}`,
    hint: 'lower optimizer.learningRate and launch again, or see with `weft data ledger` what these steps consumed',
  };
}

function describeDivergence(
  { runId, step, config, rolledBack }: RunState,
  since: number,
  spike: Spike | undefined,
): RunFailure {
  const back = rolledBack === undefined ? '' : `, after it went back ${rolledBack.times} times`;
  const now = `${back}${spike === undefined ? '' : `: ${describeSpike(spike, step)}`}`;
  return {
    code: 'failed_precondition',
    message: `the run has diverged since step ${since}${now}`,
    hint: `\`weft resume ${runId}\` goes on from the newest checkpoint before it; see with \`weft data ledger\` what step ${since} consumed, or launch again with a lower optimizer.learningRate than ${config.optimizer.learningRate}`,
  };
}
