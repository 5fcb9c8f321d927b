import type { RunFailure, StepVote } from '@weft/contracts';
import { combineDigests, ledgerEntry, MixtureSchedule } from '@weft/mixture';
import { memberIds, type Training } from './cluster-state.js';
import type { DecisionBuilder } from './decision-builder.js';
import { extendTiming, learnStepTime } from './estimates.js';
import type { EventOf } from './events.js';
import { committedStep, flushMetrics } from './metrics.js';
import { stopIfPreempted } from './preemption.js';
import type { RunState } from './run-state.js';
import { fail, lastStepOfGeneration } from './run-termination.js';

/** First phase of a commit: counts the vote of a rank. The vote of the last rank commits the step. */
export function voted(builder: DecisionBuilder, { runId, workerId, generation, vote }: EventOf<'voted'>): string {
  const { live, state } = builder.run(runId);
  if (live.state !== 'training' || live.generation !== generation)
    return `generation ${generation} of run ${runId} is already over: the vote does not count`;
  const rank = live.members.indexOf(workerId);
  if (vote.step !== state.step + 1 || vote.step > lastStepOfGeneration(state, live) || live.votes.has(rank))
    return fail(builder, runId, describeWrongStep(state, live, rank, vote));
  const votes = new Map(live.votes).set(rank, vote);
  const voting: Training = { ...live, votes, votesSinceMs: live.votesSinceMs ?? builder.nowMs };
  builder.setLive(runId, voting);
  return votes.size === live.members.length ? commit(builder, state, voting) : '';
}

/** Second phase: if the ranks agree, the step is recorded, and all of them get the order to apply or to skip it. */
function commit(builder: DecisionBuilder, state: RunState, live: Training): string {
  const { runId, config } = state;
  const votes = live.members.map((_, rank) => live.votes.get(rank)!);
  const { step, loss, gradNorm, lossTokens } = votes[0]!;
  const apply = votes.every(({ finite }) => finite);
  const disagreement = apply ? findDisagreement(votes) : undefined;
  if (disagreement !== undefined) return fail(builder, runId, disagreement);
  const { generation } = live;
  const digest = combineDigests(votes.map(({ sequenceDigest }) => sequenceDigest));
  const schedule = new MixtureSchedule(config.data.weights);
  const record = {
    kind: 'committed',
    entry: ledgerEntry(schedule, config.globalBatchSize, { step, generation, digest, loss, applied: apply }),
    gradNorm: Number.isFinite(gradNorm) ? gradNorm : null,
    lossTokens,
    worldSize: votes.length,
  } as const;
  const committed = builder.record(runId, record);
  // A rank sends its reports before its next vote, so the steps still without a report stay without one.
  flushMetrics(builder, runId, live.unreported);
  const timing = extendTiming(live.timing, step, builder.nowMs);
  builder.stepTimes = learnStepTime(builder.stepTimes, config, votes.length, timing);
  builder.setLive(runId, {
    ...live,
    votes: new Map(),
    votesSinceMs: undefined,
    ringFailures: 0,
    unreported: [committedStep({ ...record, time: builder.time })],
    timing,
  });
  if (committed.skippedInARow >= builder.timeouts.maxSkippedSteps)
    return fail(builder, runId, describeSkippedSteps(committed));
  stopIfPreempted(builder, runId);
  const decision = { step, apply, gradNorm, lossTokens };
  builder.command({ kind: 'decideStep', workerIds: memberIds(live), runId, generation, ...decision });
  return `step ${step} of run ${runId} is committed${apply ? '' : ', but not applied: its gradients are not finite'}`;
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

function describeSkippedSteps({ step, skippedInARow }: RunState): RunFailure {
  return {
    code: 'failed_precondition',
    message: `the gradients were not finite in ${skippedInARow} steps in a row, ${step - skippedInARow + 1} to ${step}`,
    hint: 'lower optimizer.learningRate and launch again, or see with `weft data ledger` what these steps consumed',
  };
}
