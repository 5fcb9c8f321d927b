import type { RunFailure, StepVote } from '@weft/contracts';
import { combineDigests, ledgerEntry, MixtureSchedule } from '@weft/mixture';
import type { Training } from './cluster-state.js';
import type { Draft } from './draft.js';
import { fail, lastStepOf } from './endings.js';
import type { MemberEventOf } from './events.js';
import { committedStep, flushMetrics } from './metrics.js';
import { learnPace, paceAfter } from './pace.js';
import { participants } from './roles.js';
import type { RunState } from './run-state.js';
import { yieldWorkers } from './yielding.js';

/** First phase of a commit: a rank's gradients are reduced. With the last rank's vote the step is committed. */
export function voted(draft: Draft, { runId, workerId, generation, vote }: MemberEventOf<'voted'>): string {
  const { live, state } = draft.run(runId);
  if (live.stage !== 'training' || live.generation !== generation)
    return `generation ${generation} of run ${runId} is already over: the vote does not count`;
  const rank = live.members.indexOf(workerId);
  if (vote.step !== state.step + 1 || vote.step > lastStepOf(state, live) || live.votes.has(rank))
    return fail(draft, runId, outOfTurn(state, live, rank, vote));
  const votes = new Map(live.votes).set(rank, vote);
  const voting: Training = { ...live, votes, votesSinceMs: live.votesSinceMs ?? draft.nowMs };
  draft.setLive(runId, voting);
  return votes.size === live.members.length ? commit(draft, state, voting) : '';
}

/** Second phase: when the ranks agree, the step is part of the run, and all are told at once. */
function commit(draft: Draft, state: RunState, live: Training): string {
  const { runId, config } = state;
  const votes = live.members.map((_, rank) => live.votes.get(rank)!);
  const { step, loss, gradNorm, lossTokens } = votes[0]!;
  const apply = votes.every(({ finite }) => finite);
  const disagreement = apply ? findDisagreement(votes) : undefined;
  if (disagreement !== undefined) return fail(draft, runId, disagreement);
  const { generation } = live;
  const digest = combineDigests(votes.map(({ sequenceDigest }) => sequenceDigest));
  const schedule = new MixtureSchedule(config.data.weights);
  const entry = ledgerEntry(schedule, config.globalBatchSize, { step, generation, digest, loss, applied: apply });
  const record = {
    kind: 'committed',
    entry,
    gradNorm: finiteOrNull(gradNorm),
    lossTokens,
    worldSize: votes.length,
  } as const;
  const committed = draft.record(runId, record);
  // Whoever is rank 0 now has voted, and said before whatever it had to say about earlier steps.
  flushMetrics(draft, runId, live.unreported);
  const unreported = [committedStep({ ...record, time: draft.time })];
  const pace = paceAfter(live.pace, step, draft.nowMs);
  draft.paces = learnPace(draft.paces, config, votes.length, pace);
  draft.setLive(runId, { ...live, votes: new Map(), votesSinceMs: undefined, ringFailures: 0, unreported, pace });
  if (committed.skippedInARow >= draft.settings.maxSkippedSteps) return fail(draft, runId, neverFinite(committed));
  const decision = { step, apply, gradNorm, lossTokens };
  yieldWorkers(draft, runId);
  draft.command({ kind: 'decideStep', workerIds: participants(live), runId, generation, ...decision });
  return `step ${step} of run ${runId} is committed${apply ? '' : ', but not applied: its gradients are not finite'}`;
}

function outOfTurn(state: RunState, live: Training, rank: number, vote: StepVote): RunFailure {
  const voted = live.votes.has(rank) ? 'which it voted for before' : `and step ${lastStepOf(state, live)} is the last`;
  return {
    code: 'internal',
    message: `rank ${rank} voted for step ${vote.step} out of turn: the open step is ${state.step + 1}, ${voted}`,
    cure: 'resume the run from its newest checkpoint, and report this',
  };
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
      cure: 'resume the run from its newest checkpoint, and report this: the ranks no longer hold the same model',
    };
  }
  return undefined;
}

function neverFinite({ step, skippedInARow }: RunState): RunFailure {
  return {
    code: 'failed_precondition',
    message: `the gradients were not finite in ${skippedInARow} steps in a row, ${step - skippedInARow + 1} to ${step}`,
    cure: 'lower optimizer.learningRate and launch again, or see with `weft data ledger` what these steps consumed',
  };
}

function finiteOrNull(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}
