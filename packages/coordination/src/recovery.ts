import { basename, dirname } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { RunConfig } from '@weft/config';
import { hasEnded, type RunFailure } from '@weft/contracts';
import type { FoundCheckpoint } from './cluster-state.js';
import type { DecisionBuilder } from './decision-builder.js';
import type { EventOf } from './events.js';
import { lookForCheckpoint } from './find-checkpoint.js';
import { runJobId } from './queue-state.js';
import type { RunState } from './run-state.js';
import { backoffMs, fail, finish, stopNow } from './run-termination.js';

/**
 * Handles the restart of the coordinator, after it has replayed its logs. Workers may come back with the state of their runs. The
 * old coordinator may have died before it executed its last commands, so the queue is made to fit the logs.
 */
export function recovered(builder: DecisionBuilder, event: EventOf<'recovered'>): string {
  builder.queue.replace(event.queue);
  const reasons = builder.runIds.map((runId) => {
    const { state } = builder.run(runId);
    if (!hasEnded(state)) return recover(builder, state, event);
    endJob(builder, state);
    return '';
  });
  return reasons.filter((reason) => reason !== '').join('; ');
}

function recover(builder: DecisionBuilder, state: RunState, { policy, endedJobIds }: EventOf<'recovered'>): string {
  const { runId, status, step } = state;
  if (builder.queue.jobOf(runId) === undefined && endedJobIds.has(runJobId(state)))
    return stopNow(builder, runId, 'its job was cancelled before the coordinator went away');
  const cause = `the coordinator went away while the run was ${status} at step ${step}`;
  if (policy === 'manual' || status === 'stopping')
    return stopNow(builder, runId, `${cause}; go on from its newest checkpoint with \`weft resume ${runId}\``);
  if (status === 'running') builder.record(runId, { kind: 'requeued', reason: cause });
  const { isInterrupted } = builder.run(runId).state;
  const reservedUntilMs = isInterrupted ? builder.nowMs + builder.timeouts.reservationMs : undefined;
  const returnsUntilMs = isInterrupted && state.lastCommit !== undefined ? returnsUntil(builder) : undefined;
  builder.setLive(runId, {
    state: 'waiting',
    ...{ sinceMs: builder.nowMs, startState: undefined, reservedUntilMs, returnsUntilMs },
  });
  builder.command(lookForCheckpoint(state));
  // What the log says of the precision and of skipped data may not have come to the file any more.
  if (state.generation > 0) builder.command({ kind: 'writeConfig', runId, config: state.config });
  requeue(builder, state);
  return `run ${runId} is queued: ${cause}`;
}

/** Until when a run whose workers may come back with its state does not go back to its checkpoint; undefined: it does at once. */
export function returnsUntil({ nowMs, timeouts }: DecisionBuilder): number | undefined {
  return timeouts.returnMs === 0 ? undefined : nowMs + timeouts.returnMs;
}

/** Lets the run's job wait again, delayed if the run failed and the queue did not get to know it. */
function requeue(builder: DecisionBuilder, state: RunState): void {
  const { runId, status, failure, failedAttempts, config } = state;
  if (status === 'queued' && failure !== undefined)
    builder.queue.retry(runId, failure.message, builder.nowMs + backoffMs(config, failedAttempts));
  builder.queue.requeue(runId);
  builder.queue.add(state, builder.nowMs);
}

/** Ends the job of a run that has ended, in case the queue did not get to know it. */
function endJob(builder: DecisionBuilder, state: RunState): void {
  const { runId, status, reason, step, loss, failedAttempts, config } = state;
  if (status === 'finished') builder.queue.end(runId, { kind: 'completed', result: { step, loss } });
  const isLastAttempt = failedAttempts >= config.queue.maxAttempts;
  if (status === 'failed') builder.queue.end(runId, { kind: 'failed', reason, isLastAttempt });
  if (status === 'stopped') builder.queue.end(runId, { kind: 'cancelled', reason });
}

/** The answer to `findCheckpoint`: the run can start from there, or must not start because its checkpoints are missing. */
export function checkpointFound(builder: DecisionBuilder, runId: string, found: FoundCheckpoint): string {
  const { state, live } = builder.run(runId);
  if (live.state !== 'waiting' || live.startState !== undefined)
    return `run ${runId} does not wait for a checkpoint any more`;
  if (live.returnsUntilMs !== undefined) {
    builder.setLive(runId, { ...live, found });
    return `run ${runId} may go back to step ${found.checkpoint?.step ?? 0}, unless its workers come back`;
  }
  const missing = explainMissingCheckpoints(state, found);
  if (missing !== undefined) return fail(builder, runId, missing);
  const neverTrained = state.generation === 0 && found.checkpoint === undefined && found.skipped.length === 0;
  if (!neverTrained) return resumeFrom(builder, runId, found, state.config);
  builder.setLive(runId, { ...live, startState: { step: 0, directory: undefined } });
  return `run ${runId} starts from the beginning`;
}

/**
 * The failure when the log names checkpoints and none of them can be used; undefined when all is well. Beginning again
 * would discard the training, perhaps only because a storage is not mounted. So a person has to decide it.
 */
export function explainMissingCheckpoints(
  state: RunState,
  found: FoundCheckpoint,
): (RunFailure & { readonly hint: string }) | undefined {
  const { runId, checkpoints } = state;
  const newest = checkpoints.at(-1);
  if (found.checkpoint !== undefined || newest === undefined) return undefined;
  const names = checkpoints.map(({ directory }) => basename(directory)).join(', ');
  const problems = skippedCheckpoints(state, found).map(({ directory, reason }) => `${basename(directory)}: ${reason}`);
  return {
    code: 'failed_precondition',
    message: `the log of run ${runId} names the checkpoints ${names} in ${dirname(newest.directory)}, but none of them can be used (${problems.join('; ')})`,
    hint: found.skipped.some(({ isUnhealthy }) => isUnhealthy)
      ? `see what these steps consumed with \`weft data ledger ${runId}\`; go on from one of them all the same with \`weft resume ${runId} --from-step N\`, or begin again with --from-start`
      : `make that folder available again, for instance by mounting its storage, and resume with \`weft resume ${runId}\`; or give the training up and begin again with \`weft resume ${runId} --from-start\``,
  };
}

/** The checkpoints newer than the one found: those that do not verify, and those in the log that are missing. */
function skippedCheckpoints({ checkpoints }: RunState, { checkpoint, skipped }: FoundCheckpoint) {
  const names = new Set(skipped.map(({ directory }) => basename(directory)));
  const missing = checkpoints
    .filter(({ step, directory }) => step > (checkpoint?.step ?? 0) && !names.has(basename(directory)))
    .map(({ directory }) => ({ directory, reason: 'it is missing', isUnhealthy: false }));
  return [...skipped, ...missing.reverse()];
}

/**
 * Rolls the run back to a checkpoint, or to its beginning when there is none, and queues it.
 *
 * @param chosenStep the step of `found` when a person chose it; undefined when it is the newest
 */
export function resumeFrom(
  builder: DecisionBuilder,
  runId: string,
  found: FoundCheckpoint,
  config: RunConfig,
  chosenStep?: number,
): string {
  const { workers, steps, expertWorkers, engine, checkpoint: keeping, divergence, data } = config;
  const { state, live } = builder.run(runId);
  const { checkpoint } = found;
  const fromStep = checkpoint?.step ?? 0;
  if (fromStep > state.step)
    return fail(builder, runId, {
      code: 'corrupt_data',
      message: `checkpoint ${checkpoint?.directory} holds step ${fromStep}, but the log of run ${runId} ends at step ${state.step}`,
      hint: 'restore the events.jsonl that belongs to it, or move the checkpoint away',
    });
  const skipped = chosenStep === undefined ? skippedCheckpoints(state, found) : [];
  const startReason = chosenStep === undefined ? explainStart(checkpoint, skipped) : explainChoice(chosenStep);
  const resumed = builder.record(runId, {
    kind: 'resumed',
    fromStep,
    checkpointDirectory: checkpoint?.directory ?? null,
    skippedCheckpoints: skipped.map(({ directory, reason }) => ({ directory, reason })),
    workers,
    steps,
    ...(expertWorkers === state.config.expertWorkers ? {} : { expertWorkers }),
    ...(isDeepStrictEqual(engine, state.config.engine) ? {} : { engine }),
    ...(isDeepStrictEqual(keeping, state.config.checkpoint) ? {} : { checkpoint: keeping }),
    ...(isDeepStrictEqual(divergence, state.config.divergence) ? {} : { divergence }),
    ...(isDeepStrictEqual(data, state.config.data) ? {} : { data }),
    reason: startReason,
  });
  // A newer checkpoint with a broken model must not be taken for the newest once the run has come as far again.
  if (skipped.some(({ isUnhealthy }) => isUnhealthy))
    builder.command({ kind: 'setAsideCheckpoints', runId, afterStep: fromStep });
  builder.command({ kind: 'repairMetrics', runId });
  const { sinceMs = builder.nowMs, reservedUntilMs, minimumWorkers } = live.state === 'waiting' ? live : {};
  const startState = { step: fromStep, directory: checkpoint?.directory };
  builder.setLive(runId, { state: 'waiting', sinceMs, startState, reservedUntilMs, minimumWorkers });
  const reason = `run ${runId}: ${startReason}`;
  // A job that has failed does not end again: the run that goes on has one of its own.
  builder.queue.add(resumed, builder.nowMs);
  if (fromStep < steps) return reason;
  finish(builder, runId);
  return `${reason}, which holds all its steps`;
}

function explainChoice(step: number): string {
  return step === 0
    ? 'it starts again from step 0, as asked'
    : `it resumes from the checkpoint of step ${step}, as asked`;
}

function explainStart(checkpoint: FoundCheckpoint['checkpoint'], skipped: FoundCheckpoint['skipped']): string {
  const from =
    checkpoint === undefined
      ? 'it starts again from step 0, for want of a checkpoint'
      : `it resumes from the checkpoint of step ${checkpoint.step}`;
  if (skipped.length === 0) return from;
  const why = skipped.map(({ directory, reason }) => `${basename(directory)} was skipped: ${reason}`).join('; ');
  return `${from} (${why})`;
}
