import type { ErrorCode } from '@weft/common';
import { canGoOnWithout, leaving, releaseOne, saveBeforeLeaving } from './admission.js';
import type { ConnectedWorker } from './cluster-state.js';
import type { DecisionBuilder } from './decision-builder.js';
import type { EventOf } from './events.js';
import { newExperts } from './expert-copies.js';
import { restartWatches, watchHangs } from './hangs.js';
import { probeCuts } from './reachability.js';
import { takeBack } from './returning.js';
import { memberEnded } from './run-termination.js';
import { workerLost } from './worker-lost.js';

/** Handles a new stream of a worker. If it had another stream, that one is lost; the state may come back with this one. */
export function workerConnected(builder: DecisionBuilder, { worker, held }: EventOf<'workerConnected'>): string {
  workerDisconnected(builder, worker.workerId, 'it connected again on a new stream');
  builder.addWorker({ ...worker, runId: undefined });
  const connected = `worker ${worker.workerId} on ${worker.hostName} is connected`;
  return held === undefined ? connected : `${connected}; ${takeBack(builder, worker.workerId, held)}`;
}

/** Handles the end of a worker's stream, for any reason. */
export function workerDisconnected(builder: DecisionBuilder, workerId: string, reason: string): string {
  const worker = builder.worker(workerId);
  if (worker === undefined) return '';
  builder.removeWorker(workerId);
  if (worker.runId !== undefined) return workerLost(builder, worker, worker.runId, reason);
  return `the idle worker ${workerId} on ${worker.hostName} is gone: ${reason}`;
}

/** Handles the passing of time: workers that were silent for too long are lost. */
export function tick(builder: DecisionBuilder): string {
  const { heartbeatTimeoutMs } = builder.timeouts;
  const sinceTickMs = builder.nowMs - (builder.lastTickMs ?? builder.nowMs);
  builder.lastTickMs = builder.nowMs;
  // Ticks are frequent. A gap means that the coordinator stood still, not that the workers were silent: the machine was
  // suspended, the clock was set, or the store did not answer.
  if (sinceTickMs < 0) keepWaitsShort(builder);
  if (sinceTickMs < 0 || sinceTickMs > longestGapMs(heartbeatTimeoutMs)) return restartTimeouts(builder);
  probeCuts(builder);
  return [...dismissSilentWorkers(builder), ...dismissSilentRanks(builder), ...watchHangs(builder)].join('; ');
}

/** Every message of a worker counts as a heartbeat. */
function dismissSilentWorkers(builder: DecisionBuilder): readonly string[] {
  const { heartbeatTimeoutMs } = builder.timeouts;
  const reason = `it sent no heartbeat for ${seconds(heartbeatTimeoutMs)}`;
  return builder.silentFor(heartbeatTimeoutMs).map(({ worker }) => dismiss(builder, worker, reason));
}

/** So much more silence than there was makes nobody hang: heartbeats come often enough. */
function longestGapMs(heartbeatTimeoutMs: number): number {
  return Math.min(heartbeatTimeoutMs / 2, Math.max(1000, heartbeatTimeoutMs / 8));
}

/** The clock was set back: what was to be waited for would take as much longer. */
function keepWaitsShort(builder: DecisionBuilder): void {
  const { nowMs, lastProbeMs } = builder;
  builder.lastProbeMs = lastProbeMs === undefined ? undefined : Math.min(lastProbeMs, nowMs);
  for (const { workerId, hungAskedMs = 0 } of builder.workers.group('hung'))
    builder.changeWorker(workerId, { hungAskedMs: Math.min(hungAskedMs, nowMs) });
  for (const { runId } of builder.queue.state.jobs) {
    for (const { workerId, joining } of builder.joining(runId))
      if (joining !== undefined && joining.notBeforeMs > nowMs)
        builder.changeWorker(workerId, { joining: { ...joining, notBeforeMs: nowMs } });
    const live = builder.findRun(runId)?.live;
    if (live?.state === 'waiting' && live.returnsUntilMs !== undefined)
      builder.setLive(runId, {
        ...live,
        returnsUntilMs: Math.min(live.returnsUntilMs, nowMs + builder.timeouts.returnMs),
      });
    if (live?.state !== 'reforming') continue;
    const { sinceMs, returns } = live;
    const shorter = returns && { ...returns, untilMs: Math.min(returns.untilMs, nowMs) };
    builder.setLive(runId, { ...live, sinceMs: Math.min(sinceMs, nowMs), returns: shorter });
  }
}

function restartTimeouts(builder: DecisionBuilder): string {
  builder.timeoutsSinceMs = builder.nowMs;
  for (const runId of builder.queue.activeRunIds) {
    const live = builder.findRun(runId)?.live;
    if (live?.state === 'training' && live.votesSinceMs !== undefined)
      builder.setLive(runId, { ...live, votesSinceMs: builder.nowMs });
  }
  restartWatches(builder);
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

/** What a worker's own engine is at fault for: other workers may well go on. */
const OWN_FAULTS: ReadonlySet<ErrorCode> = new Set(['native_library', 'out_of_memory', 'device_failed']);

/**
 * Handles the end of a member that cannot compute any more: it is dismissed for good, and the others go on without it.
 * Where nobody of its role is left, the run fails with its words.
 * @returns undefined when its end has another cause
 */
export function ownFault(builder: DecisionBuilder, event: EventOf<'ended'>): string | undefined {
  const { workerId, runId, outcome } = event;
  const worker = builder.worker(workerId);
  if (worker === undefined || outcome.kind !== 'failed') return undefined;
  const { live, state } = builder.run(runId);
  // The others hold the state and have trained with it: what fails at a newcomer is about the newcomer.
  const isNewcomer = live.state === 'training' && [...live.newcomers, ...newExperts(state, live)].includes(workerId);
  if (!OWN_FAULTS.has(outcome.failure.code) && !isNewcomer) return undefined;
  const { code, message, hint } = outcome.failure;
  const reason = hint === null ? message : `${message}: ${hint}`;
  const others = builder.membersOf(runId, worker.role).filter((member) => member.workerId !== workerId);
  if (others.length > 0) return dismiss(builder, worker, reason, code);
  const ended = memberEnded(builder, event);
  // What it lacks may be there for another run, but a device that failed would fail the next one too.
  return code === 'device_failed' ? `${ended}; ${dismiss(builder, worker, reason, code)}` : ended;
}

/**
 * Handles the wish of a worker to end. A rank goes after the current step, at no cost for the others. The last ranks save that
 * step first. What cannot be saved goes with the worker: it is lost at once.
 */
export function workerLeaves(builder: DecisionBuilder, workerId: string): string {
  const said = leaving(builder, workerId);
  const worker = builder.worker(workerId);
  if (worker?.runId === undefined || canGoOnWithout(builder, worker)) return said;
  const { runId, role } = worker;
  if (saveBeforeLeaving(builder, runId, role)) return `${said}; run ${runId} is saved first`;
  // With the last rank that would have stayed, those that wait for the end of the step go too.
  const all = builder.membersOf(runId, role).filter(({ isLeaving }) => isLeaving === true);
  const lost = all.map((each) => {
    releaseOne(builder, each.workerId, runId, 'it was asked to end');
    return workerLost(builder, each, runId, 'it was asked to end');
  });
  return [said, ...lost].join('; ');
}

function dismiss(
  builder: DecisionBuilder,
  { workerId }: ConnectedWorker,
  reason: string,
  code: ErrorCode = 'deadline_exceeded',
): string {
  const message = `the coordinator gave up worker ${workerId}: ${reason}`;
  builder.command({ kind: 'dismiss', workerId, code, message });
  return workerDisconnected(builder, workerId, reason);
}

function seconds(durationMs: number): string {
  return `${durationMs / 1000} s`;
}
