import type { Attendee, Crew, Memory, Reforming, Training } from './cluster-state.js';
import type { Draft } from './draft.js';
import { fail, lastStepOf, release } from './endings.js';
import type { MemberEventOf } from './events.js';
import { flushMetrics } from './metrics.js';
import { numberOf, placeOf } from './roles.js';

/** A member is gone: the others keep their state and form a new ring, or nobody is left and the run is queued. */
export function memberLost(draft: Draft, worker: Attendee, runId: string, reason: string): string {
  const { live, state } = draft.run(runId);
  const { workerId, hostName } = worker;
  if (live.stage !== 'training' && live.stage !== 'reforming') return '';
  const { generation } = state;
  draft.record(runId, { kind: 'workerLost', generation, ...numberOf(live, workerId), workerId, hostName, reason });
  const cause = `${placeOf(live, workerId)} (${workerId} on ${hostName}) was lost: ${reason}`;
  if (live.stage === 'training' && restIsUpToRank0(draft, runId, live)) return cause;
  if (worker.role === 'expertWorker') return `${cause}; ${expertsLost(draft, runId, live, cause)}`;
  const survivors = draft.membersOf(runId, 'rank').map((member) => member.workerId);
  if (survivors.length === 0) return `${cause}; ${abandon(draft, runId, live, `it lost its last worker (${cause})`)}`;
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

/** A part of the experts is nowhere but in the newest checkpoint: all go back to it, on those that are left. */
function expertsLost(draft: Draft, runId: string, live: Training | Reforming, cause: string): string {
  const workers = draft.membersOf(runId, 'rank').length;
  const expertWorkers = draft.membersOf(runId, 'expertWorker').length;
  // Nobody can take the place of the last one.
  const settlesFor = expertWorkers === 0 || workers === 0 ? undefined : { workers, expertWorkers };
  return abandon(draft, runId, live, `it lost experts (${cause})`, settlesFor);
}

/** Nobody holds the whole of the run's state any more. */
function abandon(draft: Draft, runId: string, live: Training | Reforming, why: string, settlesFor?: Crew): string {
  const { state } = draft.run(runId);
  flushMetrics(draft, runId, live.unreported);
  release(draft, runId, { forget: true, reason: why });
  if (state.status === 'stopping') {
    const reason = `${why} before its checkpoint was written; go on from the newest checkpoint with \`weft resume ${runId}\``;
    draft.setLive(runId, { stage: 'ended' });
    draft.record(runId, { kind: 'stopped', step: state.step, reason });
    draft.queue.end(runId, { kind: 'cancelled', reason });
    return `run ${runId} is stopped without its checkpoint`;
  }
  draft.record(runId, { kind: 'requeued', reason: why });
  const claimsUntilMs = draft.nowMs + draft.settings.reclaimMs;
  draft.setLive(runId, { stage: 'waiting', origin: undefined, claimsUntilMs, settlesFor });
  draft.queue.requeue(runId);
  draft.command({ kind: 'findCheckpoint', runId, notAfterStep: state.step });
  if (settlesFor === undefined) return `run ${runId} has no worker left and is queued`;
  return `run ${runId} goes back to its newest checkpoint, on ${settlesFor.workers} workers and ${settlesFor.expertWorkers} expert workers`;
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
  const cause = `the ring broke at ${placeOf(live, workerId)} in step ${step}: ${reason}`;
  if (restIsUpToRank0(draft, runId, live)) return cause;
  draft.record(runId, { kind: 'ringBroke', generation, ...numberOf(live, workerId), step, reason });
  const ringFailures = live.ringFailures + 1;
  if (ringFailures >= draft.settings.maxRingFailures)
    return fail(draft, runId, {
      code: 'unavailable',
      message: `the ring broke ${ringFailures} times in a row without a step between; the last time, ${cause}`,
      cure: 'check that the workers reach each other at their data-plane addresses, then resume the run',
    });
  release(draft, runId, { forget: false, reason: cause });
  const survivors = draft.membersOf(runId, 'rank').map((member) => member.workerId);
  const unheard = new Set([...survivors, ...live.experts].filter((member) => member !== workerId));
  const reforming = { survivors, unheard, ringFailures, cause };
  draft.setLive(runId, { ...memoryOf(live), stage: 'reforming', sinceMs: draft.nowMs, ...reforming });
  return `${cause}; run ${runId} waits for a sign of life of every member`;
}

function memoryOf({ origin, experts, firstGeneration, ringFailures, unreported }: Memory): Memory {
  return { origin, experts, firstGeneration, ringFailures, unreported };
}
