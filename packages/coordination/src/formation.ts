import type { Attendee, Memory, Origin, Reforming } from './cluster-state.js';
import type { Assign } from './commands.js';
import type { Draft } from './draft.js';
import type { RunState } from './run-state.js';
import { crewAttending, crewOf, holdsBack, type WaitingRun, waitingRuns } from './turn-order.js';

/** Forms every ring that can be formed now: first the runs under way, then the queued ones in the order of the queue. */
export function formRings(draft: Draft): string {
  const reformed = draft.queue.activeRunIds.map((runId) => {
    const run = draft.findRun(runId);
    return run?.live.stage === 'reforming' ? reform(draft, run.state, run.live) : '';
  });
  return [...reformed, ...startWaiting(draft)].filter((reason) => reason !== '').join('; ');
}

function startWaiting(draft: Draft): readonly string[] {
  const reasons: string[] = [];
  let idle = draft.idle('rank');
  if (idle.length === 0) return reasons;
  const attending = crewAttending(draft.state);
  for (const waiting of waitingRuns(draft.state, draft.nowMs)) {
    const { state, origin, isDue } = waiting;
    const wanted = Math.min(crewOf(state.config).workers, Math.max(waiting.needs.workers, idle.length));
    const experts = expertsFor(draft, waiting);
    if (isDue && origin !== undefined && wanted <= idle.length && experts !== undefined)
      reasons.push(start(draft, state, origin, idle.slice(0, wanted), experts));
    else if (!holdsBack(waiting, attending)) continue;
    idle = idle.slice(wanted);
    if (idle.length === 0) break;
  }
  return reasons;
}

/** The idle workers that will hold the run's experts; undefined while they are too few. */
function expertsFor(draft: Draft, { state, needs }: WaitingRun): readonly Attendee[] | undefined {
  const idle = inRankOrder(draft.idle('expertWorker').slice(0, crewOf(state.config).expertWorkers));
  return idle.length < needs.expertWorkers ? undefined : idle;
}

function start(
  draft: Draft,
  state: RunState,
  origin: Origin,
  workers: readonly Attendee[],
  expertWorkers: readonly Attendee[],
): string {
  const experts = expertWorkers.map(({ workerId }) => workerId);
  const memory: Memory = { origin, experts, firstGeneration: state.generation + 1, ringFailures: 0, unreported: [] };
  draft.queue.take(state.runId);
  return formRing(draft, state, memory, workers);
}

function reform(draft: Draft, state: RunState, live: Reforming): string {
  if (live.unheard.size > 0 || draft.nowMs - live.sinceMs < draft.settings.settleMs) return '';
  const survivors = draft.membersOf(state.runId, 'rank');
  // Idle workers can fill the gaps where everyone loads the state anyway. Where it lives only in memory they wait for
  // the next resume: here a newcomer would be given a peer to take the state from.
  const newcomers = needsMemory(state, live)
    ? []
    : draft.idle('rank').slice(0, state.config.workers - survivors.length);
  return formRing(draft, state, live, [...survivors, ...newcomers]);
}

/** Whether steps were committed since the run was taken from its origin, so that only its members hold its state. */
function needsMemory(state: RunState, memory: Memory): boolean {
  return state.step !== memory.origin.step;
}

function formRing(draft: Draft, state: RunState, memory: Memory, workers: readonly Attendee[]): string {
  const { runId, config } = state;
  const members = inRankOrder(workers);
  const experts = memory.experts.flatMap((workerId) => draft.worker(workerId) ?? []);
  const memberIds = members.map(({ workerId }) => workerId);
  const workerIds = [...memberIds, ...memory.experts];
  const generation = state.generation + 1;
  const firstStep = state.step + 1;
  const start = stateToStartFrom(state, memory);
  draft.record(runId, {
    kind: 'assigned',
    generation,
    firstStep,
    state: start.kind,
    workers: members.map(described),
    ...(experts.length === 0 ? {} : { expertWorkers: experts.map(described) }),
  });
  for (const workerId of workerIds) draft.changeWorker(workerId, { runId });
  // One more step for a run that is stopping: every rank then learns of the stop before that step's decision.
  const stopAfterStep = state.status === 'stopping' ? Math.min(firstStep, config.steps) : undefined;
  draft.setLive(runId, {
    stage: 'training',
    generation,
    members: memberIds,
    votes: new Map(),
    votesSinceMs: undefined,
    parts: new Map(),
    manifests: new Set(),
    stopAfterStep,
    yieldsTo: undefined,
    pace: undefined,
    origin: memory.origin,
    experts: memory.experts,
    firstGeneration: memory.firstGeneration,
    ringFailures: memory.ringFailures,
    unreported: memory.unreported,
  });
  const addresses = { ring: members.map(addressed), experts: experts.map(addressed) };
  draft.command({ kind: 'assign', runId, generation, config, firstStep, state: start, ...addresses });
  if (stopAfterStep !== undefined)
    draft.command({ kind: 'stopRun', workerIds, runId, generation, afterStep: stopAfterStep, reason: state.reason });
  return `run ${runId} begins generation ${generation} at step ${firstStep} on ${members.length} of ${config.workers} workers${experts.length === 0 ? '' : ` with ${experts.length} expert workers`}`;
}

function described({ workerId, hostName, device }: Attendee) {
  return { workerId, hostName, device };
}

function addressed({ workerId, dataPlaneAddress }: Attendee) {
  return { workerId, address: dataPlaneAddress };
}

function stateToStartFrom(state: RunState, memory: Memory): Assign['state'] {
  if (needsMemory(state, memory)) return { kind: 'keep' };
  const { directory } = memory.origin;
  return directory === undefined ? { kind: 'fresh' } : { kind: 'checkpoint', directory };
}

/** Workers of one host side by side in the ring, so that it crosses the network once per host. */
function inRankOrder(workers: readonly Attendee[]): readonly Attendee[] {
  return workers.toSorted((a, b) => compare(a.hostName, b.hostName) || a.order - b.order);
}

function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
