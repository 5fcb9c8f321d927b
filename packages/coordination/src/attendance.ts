import type { Attendee, WorkerIdentity } from './cluster-state.js';
import type { Draft } from './draft.js';
import { memberLost } from './loss.js';

/** A worker's stream opened. The same worker on a new stream has lost what it held for the old one. */
export function attended(draft: Draft, worker: WorkerIdentity): string {
  left(draft, worker.workerId, 'it attended again on a new stream');
  draft.addWorker({ ...worker, lastSeenMs: draft.nowMs, runId: undefined });
  return `worker ${worker.workerId} on ${worker.hostName} attends`;
}

/** A worker's stream ended. */
export function left(draft: Draft, workerId: string, reason: string): string {
  const worker = draft.worker(workerId);
  if (worker === undefined) return '';
  draft.removeWorker(workerId);
  if (worker.runId !== undefined) return memberLost(draft, worker, worker.runId, reason);
  return `the idle worker ${workerId} on ${worker.hostName} is gone: ${reason}`;
}

/** Every message is a sign of life. */
export function seen(draft: Draft, workerId: string): string {
  const worker = draft.worker(workerId);
  if (worker === undefined) return '';
  draft.changeWorker(workerId, { lastSeenMs: draft.nowMs });
  if (worker.runId === undefined) return '';
  const { live } = draft.run(worker.runId);
  if (live.stage !== 'reforming' || !live.unheard.has(workerId)) return '';
  const unheard = new Set(live.unheard);
  unheard.delete(workerId);
  draft.setLive(worker.runId, { ...live, unheard });
  return '';
}

/** Time went by: who has been silent for too long is lost. */
export function tick(draft: Draft): string {
  const { heartbeatTimeoutMs } = draft.settings;
  const sinceTickMs = draft.nowMs - (draft.lastTickMs ?? draft.nowMs);
  draft.lastTickMs = draft.nowMs;
  // When the coordinator itself stood still (a suspended machine, a clock set anew), the silence was not the workers'.
  if (sinceTickMs < 0 || sinceTickMs > heartbeatTimeoutMs / 2) return forgiveSilence(draft);
  const silent = draft.workers.filter(({ lastSeenMs }) => draft.nowMs - lastSeenMs > heartbeatTimeoutMs);
  const reason = `it gave no sign of life for ${seconds(heartbeatTimeoutMs)}`;
  return [...silent.map((worker) => dismiss(draft, worker, reason)), ...dismissSilentRanks(draft)].join('; ');
}

function forgiveSilence(draft: Draft): string {
  for (const { workerId } of draft.workers) draft.changeWorker(workerId, { lastSeenMs: draft.nowMs });
  for (const runId of draft.queue.activeRunIds) {
    const live = draft.findRun(runId)?.live;
    if (live?.stage === 'training' && live.votesSinceMs !== undefined)
      draft.setLive(runId, { ...live, votesSinceMs: draft.nowMs });
  }
  return 'the clock jumped, so every worker is given its time anew';
}

/** After an all-reduce all ranks vote within moments; one that beats but never votes is stuck. */
function dismissSilentRanks(draft: Draft): readonly string[] {
  const { voteTimeoutMs } = draft.settings;
  return draft.queue.activeRunIds.flatMap((runId) => {
    const run = draft.findRun(runId);
    if (run === undefined) return [];
    const { live, state } = run;
    if (live.stage !== 'training' || live.votesSinceMs === undefined) return [];
    if (draft.nowMs - live.votesSinceMs <= voteTimeoutMs) return [];
    const silent = live.members.filter((_, rank) => !live.votes.has(rank)).flatMap((id) => draft.worker(id) ?? []);
    const reason = `it did not vote for step ${state.step + 1} within ${seconds(voteTimeoutMs)} of the others`;
    return silent.map((worker) => dismiss(draft, worker, reason));
  });
}

function dismiss(draft: Draft, { workerId }: Attendee, reason: string): string {
  const message = `the coordinator gave worker ${workerId} up: ${reason}`;
  draft.command({ kind: 'dismiss', workerId, code: 'deadline_exceeded', message });
  return left(draft, workerId, reason);
}

function seconds(durationMs: number): string {
  return `${durationMs / 1000} s`;
}
