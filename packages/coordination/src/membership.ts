import type { ConnectedWorker, WorkerIdentity } from './cluster-state.js';
import type { DecisionBuilder } from './decision-builder.js';
import { workerLost } from './worker-lost.js';

/** Handles a new stream of a worker. If it had another stream, that one is lost, with the state the worker held. */
export function workerConnected(builder: DecisionBuilder, worker: WorkerIdentity): string {
  workerDisconnected(builder, worker.workerId, 'it connected again on a new stream');
  builder.addWorker({ ...worker, lastHeartbeatMs: builder.nowMs, runId: undefined });
  return `worker ${worker.workerId} on ${worker.hostName} is connected`;
}

/** Handles the end of a worker's stream, for any reason. */
export function workerDisconnected(builder: DecisionBuilder, workerId: string, reason: string): string {
  const worker = builder.worker(workerId);
  if (worker === undefined) return '';
  builder.removeWorker(workerId);
  if (worker.runId !== undefined) return workerLost(builder, worker, worker.runId, reason);
  return `the idle worker ${workerId} on ${worker.hostName} is gone: ${reason}`;
}

/** Every message of a worker counts as a heartbeat. */
export function heartbeat(builder: DecisionBuilder, workerId: string): string {
  const worker = builder.worker(workerId);
  if (worker === undefined) return '';
  builder.changeWorker(workerId, { lastHeartbeatMs: builder.nowMs });
  if (worker.runId === undefined) return '';
  const { live } = builder.run(worker.runId);
  if (live.state !== 'reforming' || !live.awaitingHeartbeat.has(workerId)) return '';
  const awaitingHeartbeat = new Set(live.awaitingHeartbeat);
  awaitingHeartbeat.delete(workerId);
  builder.setLive(worker.runId, { ...live, awaitingHeartbeat });
  return '';
}

/** Handles the passing of time: workers that were silent for too long are lost. */
export function tick(builder: DecisionBuilder): string {
  const { heartbeatTimeoutMs } = builder.timeouts;
  const sinceTickMs = builder.nowMs - (builder.lastTickMs ?? builder.nowMs);
  builder.lastTickMs = builder.nowMs;
  // Ticks are frequent. A gap means that the coordinator stood still, not that the workers were silent: the machine was
  // suspended, the clock was set, or the store did not answer.
  if (sinceTickMs < 0 || sinceTickMs > heartbeatTimeoutMs / 2) return restartTimeouts(builder);
  const silent = builder.workers.filter((worker) => builder.nowMs - worker.lastHeartbeatMs > heartbeatTimeoutMs);
  const reason = `it sent no heartbeat for ${seconds(heartbeatTimeoutMs)}`;
  return [...silent.map((worker) => dismiss(builder, worker, reason)), ...dismissSilentRanks(builder)].join('; ');
}

function restartTimeouts(builder: DecisionBuilder): string {
  for (const { workerId } of builder.workers) builder.changeWorker(workerId, { lastHeartbeatMs: builder.nowMs });
  for (const runId of builder.queue.activeRunIds) {
    const live = builder.findRun(runId)?.live;
    if (live?.state === 'training' && live.votesSinceMs !== undefined)
      builder.setLive(runId, { ...live, votesSinceMs: builder.nowMs });
  }
  return 'the clock jumped, so every timeout starts again';
}

/** After an all-reduce all ranks vote within moments. A rank that sends heartbeats but never votes is stuck. */
function dismissSilentRanks(builder: DecisionBuilder): readonly string[] {
  const { voteTimeoutMs } = builder.timeouts;
  return builder.queue.activeRunIds.flatMap((runId) => {
    const run = builder.findRun(runId);
    if (run === undefined) return [];
    const { live, state } = run;
    if (live.state !== 'training' || live.votesSinceMs === undefined) return [];
    if (builder.nowMs - live.votesSinceMs <= voteTimeoutMs) return [];
    const silent = live.members.filter((_, rank) => !live.votes.has(rank)).flatMap((id) => builder.worker(id) ?? []);
    const reason = `it did not vote for step ${state.step + 1} within ${seconds(voteTimeoutMs)} of the others`;
    return silent.map((worker) => dismiss(builder, worker, reason));
  });
}

function dismiss(builder: DecisionBuilder, { workerId }: ConnectedWorker, reason: string): string {
  const message = `the coordinator gave up worker ${workerId}: ${reason}`;
  builder.command({ kind: 'dismiss', workerId, code: 'deadline_exceeded', message });
  return workerDisconnected(builder, workerId, reason);
}

function seconds(durationMs: number): string {
  return `${durationMs / 1000} s`;
}
