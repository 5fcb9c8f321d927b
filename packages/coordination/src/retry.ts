import type { RunConfig } from '@weft/config';
import type { RunFailure } from '@weft/contracts';
import type { Draft } from './draft.js';
import type { RunState } from './run-state.js';

/** Whether the run is tried again: attempts are left, nobody wants it to stop, and another attempt may go well. */
export function mayRetry(
  draft: Draft,
  { runId, status, failedAttempts, config }: RunState,
  failure: RunFailure,
): boolean {
  const wasAtWork = draft.queue.jobOf(runId)?.state === 'active';
  return wasAtWork && status === 'running' && failedAttempts + 1 < config.queue.maxAttempts && mayPass(failure);
}

/** These two stay as they are until a person does something. */
function mayPass({ code }: RunFailure): boolean {
  return code !== 'invalid_argument' && code !== 'failed_precondition';
}

const LONGEST_BACKOFF_MS = 3_600_000;

/** How long a run waits after so many failed attempts, as the store has it: doubling, at most an hour unless asked for more. */
export function backoffMs({ queue }: RunConfig, failedAttempts: number): number {
  const firstMs = queue.backoffSeconds * 1000;
  return Math.min(firstMs * 2 ** (failedAttempts - 1), Math.max(firstMs, LONGEST_BACKOFF_MS));
}

/** Queues a run that failed to go on from its newest checkpoint, later with every attempt. */
export function retry(draft: Draft, { runId, step, failedAttempts, config }: RunState, failure: RunFailure): string {
  const { maxAttempts } = config.queue;
  const attempt = failedAttempts + 1;
  const retryAtMs = draft.nowMs + backoffMs(config, attempt);
  const retryAt = new Date(retryAtMs).toISOString();
  draft.record(runId, { kind: 'attemptFailed', step, failure, attempt, maxAttempts, retryAt });
  draft.setLive(runId, { stage: 'waiting', origin: undefined, claimsUntilMs: undefined });
  draft.command({ kind: 'findCheckpoint', runId, notAfterStep: step });
  draft.queue.retry(runId, failure.message, retryAtMs);
  return `attempt ${attempt} of ${maxAttempts} of run ${runId} failed: ${failure.message}; it tries again at ${retryAt}`;
}
