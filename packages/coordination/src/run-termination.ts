import type { RunConfig } from '@weft/config';
import { hasEnded, type RunFailure } from '@weft/contracts';
import { describeMember, memberIds, type Training } from './cluster-state.js';
import type { DecisionBuilder } from './decision-builder.js';
import type { EventOf } from './events.js';
import { lookForCheckpoint } from './find-checkpoint.js';
import { flushMetrics } from './metrics.js';
import type { RunState } from './run-state.js';

/** Ends a run whose steps are all trained and whose last checkpoint is written. */
export function finish(builder: DecisionBuilder, runId: string): string {
  detachWorkers(builder, runId, 'all steps are trained');
  builder.setLive(runId, { state: 'ended' });
  const { step, loss } = builder.run(runId).state;
  builder.record(runId, { kind: 'finished', step });
  builder.queue.end(runId, { kind: 'completed', result: { step, loss } });
  return `run ${runId} is finished`;
}

/** Ends the run at once, without waiting for anything. */
export function stopNow(builder: DecisionBuilder, runId: string, reason: string): string {
  detachWorkers(builder, runId, reason);
  builder.setLive(runId, { state: 'ended' });
  builder.record(runId, { kind: 'stopped', step: builder.run(runId).state.step, reason });
  builder.queue.end(runId, { kind: 'cancelled', reason });
  return `run ${runId} is stopped: ${reason}`;
}

/** Ends the run, or queues it again when it has attempts left. */
export function fail(builder: DecisionBuilder, runId: string, failure: RunFailure): string {
  const { state } = builder.run(runId);
  detachWorkers(builder, runId, `the run failed: ${failure.message}`);
  if (mayRetry(builder, state, failure)) return retry(builder, state, failure);
  builder.setLive(runId, { state: 'ended' });
  const { failedAttempts, config } = builder.record(runId, { kind: 'failed', step: state.step, failure });
  const isLastAttempt = failedAttempts >= config.queue.maxAttempts;
  builder.queue.end(runId, { kind: 'failed', reason: failure.message, isLastAttempt });
  return `run ${runId} failed: ${failure.message}`;
}

/** Whether the run should go on, has attempts left, and may succeed at the next one. */
function mayRetry(builder: DecisionBuilder, state: RunState, failure: RunFailure): boolean {
  const { runId, status, failedAttempts, config } = state;
  const wasActive = builder.queue.jobOf(runId)?.state === 'active';
  return wasActive && status === 'running' && failedAttempts + 1 < config.queue.maxAttempts && isRetryable(failure);
}

/** Whether another attempt may succeed. These codes need a person first. */
function isRetryable({ code }: RunFailure): boolean {
  return code !== 'invalid_argument' && code !== 'failed_precondition' && code !== 'out_of_memory';
}

/** Queues a failed run to go on from its newest checkpoint, with a longer delay after every attempt. */
function retry(builder: DecisionBuilder, state: RunState, failure: RunFailure): string {
  const { runId, step, failedAttempts, config } = state;
  const { maxAttempts } = config.queue;
  const attempt = failedAttempts + 1;
  const retryAtMs = builder.nowMs + backoffMs(config, attempt);
  const retryAt = new Date(retryAtMs).toISOString();
  builder.record(runId, { kind: 'attemptFailed', step, failure, attempt, maxAttempts, retryAt });
  builder.setLive(runId, {
    state: 'waiting',
    sinceMs: builder.nowMs,
    startState: undefined,
    reservedUntilMs: undefined,
  });
  builder.command(lookForCheckpoint(state));
  builder.queue.retry(runId, failure.message, retryAtMs);
  return `attempt ${attempt} of ${maxAttempts} of run ${runId} failed: ${failure.message}; it tries again at ${retryAt}`;
}

const MAX_BACKOFF_MS = 3_600_000;

/**
 * How long a run waits after this many failed attempts: `backoffSeconds`, doubled with every failure, up to an hour or
 * to `backoffSeconds` if that is longer. The store computes the same.
 */
export function backoffMs({ queue }: RunConfig, failedAttempts: number): number {
  const firstMs = queue.backoffSeconds * 1000;
  return Math.min(firstMs * 2 ** (failedAttempts - 1), Math.max(firstMs, MAX_BACKOFF_MS));
}

/** Handles a failed command without which the run cannot go on. */
export function effectFailed(builder: DecisionBuilder, runId: string, failure: RunFailure): string {
  const { state } = builder.run(runId);
  if (hasEnded(state)) return `run ${runId} has ${state.status} already: ${failure.message}`;
  return fail(builder, runId, failure);
}

/** Handles the end of a member's training: as planned, too early, or with an error. */
export function memberEnded(builder: DecisionBuilder, event: EventOf<'ended'>): string {
  const { runId, workerId, generation, outcome } = event;
  const { live, state } = builder.run(runId);
  if (live.state !== 'training' && live.state !== 'reforming') return '';
  const member = describeMember(live, workerId);
  if (outcome.kind === 'failed') {
    if (generation < live.firstGeneration) return `a failure of generation ${generation} is not about this state`;
    const { code, message, hint } = outcome.failure;
    return fail(builder, runId, { code, message: `${member}: ${message}`, hint });
  }
  if (live.state !== 'training' || live.generation !== generation)
    return `generation ${generation} of run ${runId} is already over`;
  const lastStep = lastStepOfGeneration(state, live);
  const index = memberIds(live).indexOf(workerId);
  const hasSaved = live.manifests.has(lastStep) || live.parts.get(lastStep)?.has(index) === true;
  if (outcome.step === lastStep && hasSaved) return `${member} of run ${runId} has done its part`;
  return fail(builder, runId, {
    code: 'internal',
    message: `${member} ended after step ${outcome.step}${hasSaved ? '' : ' without its part of the checkpoint'}, where step ${lastStep} was to be the last`,
    hint: 'resume the run from its newest checkpoint, and report this',
  });
}

/** The step after which the generation ends by itself. */
export function lastStepOfGeneration(state: RunState, live: Training): number {
  return live.stopAfterStep ?? state.config.steps;
}

/** Frees the members, which drop the run's state. The caller sets the next state of the run. */
export function detachWorkers(builder: DecisionBuilder, runId: string, reason: string): void {
  const { live } = builder.run(runId);
  if (live.state === 'training' || live.state === 'reforming') flushMetrics(builder, runId, live.unreported);
  release(builder, runId, { discardState: true, reason });
}

/** Ends the generation of the connected members. With `discardState` they become idle. */
export function release(
  builder: DecisionBuilder,
  runId: string,
  { discardState, reason }: { discardState: boolean; reason: string },
): void {
  const members = builder.membersOf(runId).map(({ workerId }) => workerId);
  // Those that were about to join have nothing to join any more.
  const joining = discardState ? builder.joining(runId).map(({ workerId }) => workerId) : [];
  const workerIds = [...members, ...joining];
  if (workerIds.length === 0) return;
  const { generation } = builder.run(runId).state;
  builder.command({ kind: 'release', workerIds, runId, generation, discardState, reason });
  if (!discardState) return;
  for (const workerId of workerIds) builder.changeWorker(workerId, { runId: undefined, joining: undefined });
}
