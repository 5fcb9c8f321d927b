import type { RunFailure } from '@weft/contracts';
import type { Training } from './cluster-state.js';
import type { Draft } from './draft.js';
import type { MemberEventOf } from './events.js';
import { flushMetrics } from './metrics.js';
import { mayRetry, retry } from './retry.js';
import { participants, placeOf } from './roles.js';
import { isEnded, type RunState } from './run-state.js';

/** The step after which this generation ends by itself. */
export function lastStepOf(state: RunState, live: Training): number {
  return live.stopAfterStep ?? state.config.steps;
}

/** All steps are trained, and a checkpoint holds them. */
export function finish(draft: Draft, runId: string): string {
  letGo(draft, runId, 'all steps are trained');
  draft.setLive(runId, { stage: 'ended' });
  const { step, loss } = draft.run(runId).state;
  draft.record(runId, { kind: 'finished', step });
  draft.queue.end(runId, { kind: 'completed', result: { step, loss } });
  return `run ${runId} is finished`;
}

/** Ends the run where it stands, without waiting for anything. */
export function stopNow(draft: Draft, runId: string, reason: string): string {
  letGo(draft, runId, reason);
  draft.setLive(runId, { stage: 'ended' });
  draft.record(runId, { kind: 'stopped', step: draft.run(runId).state.step, reason });
  draft.queue.end(runId, { kind: 'cancelled', reason });
  return `run ${runId} is stopped: ${reason}`;
}

/** Ends the run, unless it has attempts left. */
export function fail(draft: Draft, runId: string, failure: RunFailure): string {
  const { state } = draft.run(runId);
  letGo(draft, runId, `the run failed: ${failure.message}`);
  if (mayRetry(draft, state, failure)) return retry(draft, state, failure);
  draft.setLive(runId, { stage: 'ended' });
  const { failedAttempts, config } = draft.record(runId, { kind: 'failed', step: state.step, failure });
  const isLastAttempt = failedAttempts >= config.queue.maxAttempts;
  draft.queue.end(runId, { kind: 'failed', reason: failure.message, isLastAttempt });
  return `run ${runId} failed: ${failure.message}`;
}

/** An effect failed that a run cannot do without. */
export function effectFailed(draft: Draft, runId: string, failure: RunFailure): string {
  const { status } = draft.run(runId).state;
  return isEnded(status) ? `run ${runId} has ${status} already: ${failure.message}` : fail(draft, runId, failure);
}

/** A rank's training ended by itself. */
export function ended(draft: Draft, { runId, workerId, generation, outcome }: MemberEventOf<'ended'>): string {
  const { live, state } = draft.run(runId);
  if (live.stage !== 'training' && live.stage !== 'reforming') return '';
  const who = placeOf(live, workerId);
  if (outcome.kind === 'failed') {
    if (generation < live.firstGeneration) return `a failure of generation ${generation} is not about this state`;
    const { code, message, cure } = outcome.failure;
    return fail(draft, runId, { code, message: `${who}: ${message}`, cure });
  }
  if (live.stage !== 'training' || live.generation !== generation)
    return `generation ${generation} of run ${runId} is already over`;
  const lastStep = lastStepOf(state, live);
  const place = participants(live).indexOf(workerId);
  const saved = live.manifests.has(lastStep) || live.parts.get(lastStep)?.has(place) === true;
  if (outcome.step === lastStep && saved) return `${who} of run ${runId} has done its part`;
  return fail(draft, runId, {
    code: 'internal',
    message: `${who} ended after step ${outcome.step}${saved ? '' : ' without its part of the checkpoint'}, where step ${lastStep} was to be the last`,
    cure: 'resume the run from its newest checkpoint, and report this',
  });
}

/** Frees the members and drops what lived in their memory. What the run does next is the caller's to say. */
export function letGo(draft: Draft, runId: string, reason: string): void {
  const { live } = draft.run(runId);
  if (live.stage === 'training' || live.stage === 'reforming') flushMetrics(draft, runId, live.unreported);
  release(draft, runId, { forget: true, reason });
}

/** Tells the attending members that their generation is over; with `forget`, they are idle from here on. */
export function release(draft: Draft, runId: string, { forget, reason }: { forget: boolean; reason: string }): void {
  const workerIds = draft.membersOf(runId).map(({ workerId }) => workerId);
  if (workerIds.length === 0) return;
  const { generation } = draft.run(runId).state;
  draft.command({ kind: 'release', workerIds, runId, generation, forget, reason });
  if (forget) for (const workerId of workerIds) draft.changeWorker(workerId, { runId: undefined });
}
