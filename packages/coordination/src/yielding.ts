import type { Draft } from './draft.js';
import { letGo } from './endings.js';
import { yieldingRuns } from './preemption.js';
import { participants } from './roles.js';

/**
 * Ends the generation with the step just committed, when its checkpoint is due and a more important run wants its
 * workers. Asked before the ranks are told of the commit, so that all of them stop there.
 */
export function yieldWorkers(draft: Draft, runId: string): void {
  const { live, state } = draft.run(runId);
  const { step, config, status } = state;
  if (live.stage !== 'training' || live.stopAfterStep !== undefined || status !== 'running') return;
  if (step === config.steps || step % config.checkpoint.everySteps !== 0) return;
  const to = yieldingRuns(draft.state, draft.nowMs).get(runId);
  if (to === undefined) return;
  draft.setLive(runId, { ...live, stopAfterStep: step, yieldsTo: to });
  const { generation } = live;
  const workerIds = participants(live);
  const reason = `run ${to} has a higher priority`;
  draft.command({ kind: 'stopRun', workerIds, runId, generation, afterStep: step, reason });
}

/** The checkpoint is written: the workers are free, and the run waits in front of the others of its priority. */
export function leaveWorkers(
  draft: Draft,
  runId: string,
  { to, directory }: { to: string; directory: string },
): string {
  const { step } = draft.run(runId).state;
  const reason = `it left its workers to run ${to} after step ${step}`;
  letGo(draft, runId, reason);
  draft.record(runId, { kind: 'requeued', reason, yieldedTo: to });
  draft.setLive(runId, { stage: 'waiting', origin: { step, directory }, claimsUntilMs: undefined });
  draft.queue.requeue(runId);
  return `run ${runId} is queued: ${reason}`;
}
