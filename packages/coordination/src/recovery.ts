import { basename } from 'node:path';
import type { RunConfig } from '@weft/config';
import type { Draft } from './draft.js';
import { fail, finish, stopNow } from './endings.js';
import type { ClusterEvent, FoundCheckpoint } from './events.js';
import { jobIdOf } from './job-id.js';
import { backoffMs } from './retry.js';
import { isEnded, type RunState } from './run-state.js';

type Recovered = ClusterEvent & { readonly kind: 'recovered' };

/**
 * The coordinator came back and replayed its runs; nobody holds their state in memory any more. Logs are ahead of the
 * queue by what was decided and not yet carried out when it died, so the queue is made to fit them.
 */
export function recovered(draft: Draft, event: Recovered): string {
  draft.queue.replace(event.queue);
  const reasons = draft.runIds.map((runId) => {
    const { state } = draft.run(runId);
    if (!isEnded(state.status)) return recover(draft, state, event);
    endJob(draft, state);
    return '';
  });
  return reasons.filter((reason) => reason !== '').join('; ');
}

function recover(draft: Draft, state: RunState, { policy, endedJobIds }: Recovered): string {
  const { runId, status, step } = state;
  if (draft.queue.jobOf(runId) === undefined && endedJobIds.has(jobIdOf(state)))
    return stopNow(draft, runId, 'its job was cancelled before the coordinator went away');
  const cause = `the coordinator went away while the run was ${status} at step ${step}`;
  if (policy === 'manual' || status === 'stopping')
    return stopNow(draft, runId, `${cause}; go on from its newest checkpoint with \`weft resume ${runId}\``);
  if (status === 'running') draft.record(runId, { kind: 'requeued', reason: cause });
  const { isInterrupted } = draft.run(runId).state;
  const claimsUntilMs = isInterrupted ? draft.nowMs + draft.settings.reclaimMs : undefined;
  draft.setLive(runId, { stage: 'waiting', origin: undefined, claimsUntilMs });
  draft.command({ kind: 'findCheckpoint', runId, notAfterStep: step });
  queueAgain(draft, state);
  return `run ${runId} is queued: ${cause}`;
}

/** Its job waits, or is delayed after a failure that the queue had not heard of. */
function queueAgain(draft: Draft, state: RunState): void {
  const { runId, status, failure, failedAttempts, config } = state;
  if (status === 'queued' && failure !== undefined) {
    draft.queue.retry(runId, failure.message, draft.nowMs + backoffMs(config, failedAttempts));
  }
  draft.queue.requeue(runId);
  draft.queue.add(state, draft.nowMs);
}

/** The run's end had not reached the queue. */
function endJob(draft: Draft, { runId, status, reason, step, loss, failedAttempts, config }: RunState): void {
  if (status === 'finished') draft.queue.end(runId, { kind: 'completed', result: { step, loss } });
  const isLastAttempt = failedAttempts >= config.queue.maxAttempts;
  if (status === 'failed') draft.queue.end(runId, { kind: 'failed', reason, isLastAttempt });
  if (status === 'stopped') draft.queue.end(runId, { kind: 'cancelled', reason });
}

/** The answer to `findCheckpoint`: the run can start from there. */
export function checkpointFound(draft: Draft, runId: string, found: FoundCheckpoint): string {
  const { state, live } = draft.run(runId);
  if (live.stage !== 'waiting' || live.origin !== undefined)
    return `run ${runId} does not wait for a checkpoint any more`;
  const neverTrained = state.generation === 0 && found.checkpoint === undefined && found.skipped.length === 0;
  if (!neverTrained) return resumeFrom(draft, runId, found, state.config);
  draft.setLive(runId, { ...live, origin: { step: 0, directory: undefined } });
  return `run ${runId} starts from the beginning`;
}

/** Rolls the run back to a checkpoint, or to its beginning when there is none, and queues it. */
export function resumeFrom(draft: Draft, runId: string, found: FoundCheckpoint, config: RunConfig): string {
  const { workers, steps, expertWorkers } = config;
  const { state, live } = draft.run(runId);
  const { checkpoint, skipped } = found;
  const fromStep = checkpoint?.step ?? 0;
  if (fromStep > state.step)
    return fail(draft, runId, {
      code: 'corrupt_data',
      message: `checkpoint ${checkpoint?.directory} holds step ${fromStep}, but the log of run ${runId} ends at step ${state.step}`,
      cure: 'restore the events.jsonl that belongs to it, or move the checkpoint away',
    });
  const resumed = draft.record(runId, {
    kind: 'resumed',
    fromStep,
    checkpointDirectory: checkpoint?.directory ?? null,
    skippedCheckpoints: skipped,
    workers,
    steps,
    ...(expertWorkers === state.config.expertWorkers ? {} : { expertWorkers }),
    reason: sentence(found),
  });
  draft.command({ kind: 'mendMetrics', runId });
  const { claimsUntilMs, settlesFor } = live.stage === 'waiting' ? live : {};
  const origin = { step: fromStep, directory: checkpoint?.directory };
  draft.setLive(runId, { stage: 'waiting', origin, claimsUntilMs, settlesFor });
  const reason = `run ${runId}: ${sentence(found)}`;
  if (fromStep !== steps) {
    draft.queue.add(resumed, draft.nowMs);
    return reason;
  }
  finish(draft, runId);
  return `${reason}, which holds all its steps`;
}

function sentence({ checkpoint, skipped }: FoundCheckpoint): string {
  const from =
    checkpoint === undefined
      ? 'it starts again from step 0, for want of a checkpoint'
      : `it resumes from the checkpoint of step ${checkpoint.step}`;
  if (skipped.length === 0) return from;
  const why = skipped.map(({ directory, reason }) => `${basename(directory)} was skipped: ${reason}`).join('; ');
  return `${from} (${why})`;
}
