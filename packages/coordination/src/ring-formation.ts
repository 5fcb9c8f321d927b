import type { ConnectedWorker, Reforming, RetainedState, StartState } from './cluster-state.js';
import { connectedWorkers } from './cluster-state.js';
import type { Assign } from './commands.js';
import type { DecisionBuilder } from './decision-builder.js';
import type { RunState } from './run-state.js';
import { blocksQueue, requestedWorkers, type WaitingRun, waitingRuns } from './scheduling.js';

/** Forms every ring that can form now: first those of active runs, then the waiting runs in the order of the queue. */
export function formRings(builder: DecisionBuilder): string {
  const reformed = builder.queue.activeRunIds.map((runId) => {
    const run = builder.findRun(runId);
    return run?.live.state === 'reforming' ? reformRing(builder, run.state, run.live) : '';
  });
  return [...reformed, ...startWaitingRuns(builder)].filter((reason) => reason !== '').join('; ');
}

/** After a loss: the members that are left form the next generation. */
function reformRing(builder: DecisionBuilder, state: RunState, live: Reforming): string {
  if (live.awaitingHeartbeat.size > 0 || builder.nowMs - live.sinceMs < builder.timeouts.lossGraceMs) return '';
  const survivors = builder.membersOf(state.runId, 'rank');
  // Idle workers may fill the gaps only while everyone loads the state anyway. Later the state is in the memory of the
  // survivors, and a newcomer would have to get it from one of them.
  const newcomers = needsRetainedState(state, live)
    ? []
    : builder.idle('rank').slice(0, state.config.workers - survivors.length);
  return formRing(builder, state, live, [...survivors, ...newcomers]);
}

function startWaitingRuns(builder: DecisionBuilder): readonly string[] {
  const reasons: string[] = [];
  let idle = builder.idle('rank');
  if (idle.length === 0) return reasons;
  const connected = connectedWorkers(builder.state);
  for (const waiting of waitingRuns(builder.state, builder.nowMs)) {
    const { state, startState, isDue } = waiting;
    const size = Math.min(requestedWorkers(state.config).workers, Math.max(waiting.required.workers, idle.length));
    const experts = chooseExpertWorkers(builder, waiting);
    if (isDue && startState !== undefined && size <= idle.length && experts !== undefined)
      reasons.push(startRun(builder, state, startState, idle.slice(0, size), experts));
    else if (!blocksQueue(waiting, connected)) continue;
    // A run that blocks the queue keeps these workers idle until it can start.
    idle = idle.slice(size);
    if (idle.length === 0) break;
  }
  return reasons;
}

/** The idle workers that will hold the run's experts; undefined while there are too few. */
function chooseExpertWorkers(
  builder: DecisionBuilder,
  { state, required }: WaitingRun,
): readonly ConnectedWorker[] | undefined {
  const idle = sortByHost(builder.idle('expertWorker').slice(0, requestedWorkers(state.config).expertWorkers));
  return idle.length < required.expertWorkers ? undefined : idle;
}

function startRun(
  builder: DecisionBuilder,
  state: RunState,
  startState: StartState,
  workers: readonly ConnectedWorker[],
  expertWorkers: readonly ConnectedWorker[],
): string {
  const experts = expertWorkers.map(({ workerId }) => workerId);
  const firstGeneration = state.generation + 1;
  builder.queue.take(state.runId);
  return formRing(builder, state, { startState, experts, firstGeneration, ringFailures: 0, unreported: [] }, workers);
}

/** Begins the next generation: records it, and sends every member its assignment. */
function formRing(
  builder: DecisionBuilder,
  state: RunState,
  retained: RetainedState,
  workers: readonly ConnectedWorker[],
): string {
  const { runId, config } = state;
  const ring = sortByHost(workers);
  const experts = retained.experts.flatMap((workerId) => builder.worker(workerId) ?? []);
  const members = ring.map(({ workerId }) => workerId);
  const workerIds = [...members, ...retained.experts];
  const generation = state.generation + 1;
  const firstStep = state.step + 1;
  const startFrom = chooseStartFrom(state, retained);
  builder.record(runId, {
    kind: 'assigned',
    generation,
    firstStep,
    state: startFrom.kind,
    workers: ring.map(toRecorded),
    ...(experts.length === 0 ? {} : { expertWorkers: experts.map(toRecorded) }),
  });
  for (const workerId of workerIds) builder.changeWorker(workerId, { runId });
  // A run that is stopping trains one more step, so every rank gets the stop before that step's decision.
  const stopAfterStep = state.status === 'stopping' ? Math.min(firstStep, config.steps) : undefined;
  builder.setLive(runId, {
    state: 'training',
    generation,
    members,
    votes: new Map(),
    votesSinceMs: undefined,
    parts: new Map(),
    manifests: new Set(),
    stopAfterStep,
    preemptedBy: undefined,
    timing: undefined,
    startState: retained.startState,
    experts: retained.experts,
    firstGeneration: retained.firstGeneration,
    ringFailures: retained.ringFailures,
    unreported: retained.unreported,
  });
  const addresses = { ring: ring.map(toAddress), experts: experts.map(toAddress) };
  builder.command({ kind: 'assign', runId, generation, config, firstStep, startFrom, ...addresses });
  if (stopAfterStep !== undefined)
    builder.command({ kind: 'stopRun', workerIds, runId, generation, afterStep: stopAfterStep, reason: state.reason });
  const withExperts = experts.length === 0 ? '' : ` with ${experts.length} expert workers`;
  return `run ${runId} begins generation ${generation} at step ${firstStep} on ${ring.length} of ${config.workers} workers${withExperts}`;
}

/** Whether steps were committed since the run started from `startState`: then only its members hold its state. */
function needsRetainedState(state: RunState, retained: RetainedState): boolean {
  return state.step !== retained.startState.step;
}

function chooseStartFrom(state: RunState, retained: RetainedState): Assign['startFrom'] {
  if (needsRetainedState(state, retained)) return { kind: 'keep' };
  const { directory } = retained.startState;
  return directory === undefined ? { kind: 'fresh' } : { kind: 'checkpoint', directory };
}

function toRecorded({ workerId, hostName, device }: ConnectedWorker) {
  return { workerId, hostName, device };
}

function toAddress({ workerId, dataPlaneAddress }: ConnectedWorker) {
  return { workerId, address: dataPlaneAddress };
}

/** Workers of one host become neighbours in the ring, so the ring crosses the network once per host. */
function sortByHost(workers: readonly ConnectedWorker[]): readonly ConnectedWorker[] {
  return workers.toSorted((a, b) => compare(a.hostName, b.hostName) || a.order - b.order);
}

function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
