import type { Attendee, Memory, Reforming, Training } from './cluster-state.js';
import type { Draft } from './draft.js';
import { fail, lastStepOf, release } from './endings.js';
import type { MemberEventOf } from './events.js';
import { flushMetrics } from './metrics.js';

/** A member is gone: the others keep their state and form a new ring, or nobody is left and the run is queued. */
export function memberLost(draft: Draft, worker: Attendee, runId: string, reason: string): string {
  const { live, state } = draft.run(runId);
  const { workerId, hostName } = worker;
  if (live.stage !== 'training' && live.stage !== 'reforming') return '';
  const rank = (live.stage === 'training' ? live.members : live.survivors).indexOf(workerId);
  draft.record(runId, { kind: 'workerLost', generation: state.generation, rank, workerId, hostName, reason });
  const cause = `rank ${rank} (${workerId} on ${hostName}) was lost: ${reason}`;
  if (live.stage === 'training' && restIsUpToRank0(draft, runId, live)) return cause;
  const survivors = draft.membersOf(runId).map((member) => member.workerId);
  if (survivors.length === 0) return `${cause}; ${abandon(draft, runId, live, cause)}`;
  if (live.stage === 'training') release(draft, runId, { forget: false, reason: cause });
  // The loss explains a ring that broke before it, so the others need not prove that they live.
  const reforming = { survivors, unheard: new Set<string>(), ringFailures: 0, cause };
  draft.setLive(runId, { ...memoryOf(live), stage: 'reforming', sinceMs: draft.nowMs, ...reforming });
  return `${cause}; run ${runId} goes on with ${survivors.length} of ${state.config.workers} workers`;
}

/** Every shard of the last checkpoint is on disk and rank 0 lives: nobody else is needed. */
function restIsUpToRank0(draft: Draft, runId: string, live: Training): boolean {
  const lastStep = lastStepOf(draft.run(runId).state, live);
  return live.manifests.has(lastStep) && draft.worker(live.members[0]!)?.runId === runId;
}

/** Nobody holds the run's state any more. */
function abandon(draft: Draft, runId: string, live: Training | Reforming, cause: string): string {
  const { state } = draft.run(runId);
  flushMetrics(draft, runId, live.unreported);
  if (state.phase === 'stopping') {
    const reason = `its last worker was lost before its checkpoint was written (${cause}); go on from the newest checkpoint with \`weft resume ${runId}\``;
    draft.setLive(runId, { stage: 'ended' });
    draft.record(runId, { kind: 'stopped', step: state.step, reason });
    draft.queue.end(runId, { kind: 'cancelled', reason });
    return `run ${runId} is stopped without its checkpoint`;
  }
  draft.record(runId, { kind: 'requeued', reason: `it lost its last worker (${cause})` });
  const claimsUntilMs = draft.nowMs + draft.settings.reclaimMs;
  draft.setLive(runId, { stage: 'waiting', origin: undefined, claimsUntilMs });
  draft.queue.requeue(runId);
  draft.command({ kind: 'findCheckpoint', runId, notAfterStep: state.step });
  return `run ${runId} has no worker left and is queued`;
}

/**
 * A rank's ring broke although it lives. Mostly because a peer died, which the coordinator may not have noticed yet: it
 * waits until every member gave a sign of life or is lost, then the ring forms anew.
 */
export function ringBroken(draft: Draft, event: MemberEventOf<'ringBroken'>): string {
  const { runId, workerId, generation, step, reason } = event;
  const { live } = draft.run(runId);
  if (live.stage !== 'training' || live.generation !== generation)
    return `generation ${generation} of run ${runId} is already over`;
  const rank = live.members.indexOf(workerId);
  const cause = `the ring broke at rank ${rank} in step ${step}: ${reason}`;
  if (restIsUpToRank0(draft, runId, live)) return cause;
  draft.record(runId, { kind: 'ringBroke', generation, rank, step, reason });
  const ringFailures = live.ringFailures + 1;
  if (ringFailures >= draft.settings.maxRingFailures)
    return fail(draft, runId, {
      code: 'unavailable',
      message: `the ring broke ${ringFailures} times in a row without a step between; the last time, ${cause}`,
      cure: 'check that the workers reach each other at their data-plane addresses, then resume the run',
    });
  release(draft, runId, { forget: false, reason: cause });
  const survivors = draft.membersOf(runId).map((member) => member.workerId);
  const unheard = new Set(survivors.filter((member) => member !== workerId));
  const reforming = { survivors, unheard, ringFailures, cause };
  draft.setLive(runId, { ...memoryOf(live), stage: 'reforming', sinceMs: draft.nowMs, ...reforming });
  return `${cause}; run ${runId} waits for a sign of life of every member`;
}

function memoryOf({ origin, firstGeneration, ringFailures, unreported }: Memory): Memory {
  return { origin, firstGeneration, ringFailures, unreported };
}
