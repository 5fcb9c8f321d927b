import { AUTOMATIC_PRECISION, type Precision, type RunConfig } from '@weft/config';
import {
  type MembershipChange,
  readyNewcomers,
  recruit,
  releaseLeavers,
  releaseOne,
  saveBeforeLeaving,
} from './admission.js';
import type { ConnectedWorker, Reforming, RetainedState, StartState, Training } from './cluster-state.js';
import { connectedWorkers, fitsAll, memberIds } from './cluster-state.js';
import type { Assign } from './commands.js';
import type { DecisionBuilder } from './decision-builder.js';
import { areExpertsHeld, chooseCopies, chooseExperts, expertHolders, leavingExperts } from './expert-copies.js';
import { withMemoryFor } from './memory.js';
import { areCut, chooseLeftOut, isCutFromMembers } from './reachability.js';
import { areAwaited, lacksExperts } from './returning.js';
import type { RunState } from './run-state.js';
import { blocksQueue, requestedWorkers, type WaitingRun, waitingRuns } from './scheduling.js';
import { VersionedMap } from './versioned-map.js';
import { expertsLost } from './worker-lost.js';

/**
 * Forms every ring that can form now: first those of active runs, then the waiting runs in the order of the queue. Idle
 * workers get ready for active runs that lack some before they are given to waiting ones.
 */
export function formRings(builder: DecisionBuilder): string {
  const reformed = builder.queue.activeRunIds.map((runId) => {
    const run = builder.findRun(runId);
    return run?.live.state === 'reforming' ? reformRing(builder, run.state, run.live) : '';
  });
  return [...reformed, recruit(builder), ...startWaitingRuns(builder)].filter((reason) => reason !== '').join('; ');
}

/** After a loss: the members that are left form the next generation. */
function reformRing(builder: DecisionBuilder, state: RunState, live: Reforming): string {
  if (builder.nowMs - live.sinceMs < builder.timeouts.lossGraceMs || awaitsHeartbeats(builder, state, live)) return '';
  if (areAwaited(builder, state, live)) return '';
  const goesOn = needsRetainedState(state, live);
  if (goesOn ? !areExpertsHeld(builder, state) : lacksExperts(builder, state, live))
    return expertsLost(builder, state.runId, live, live.cause);
  const { runId, config } = state;
  if (goesOn) releaseLeavers(builder, runId, leavingExperts(builder, state));
  const members = builder.membersOf(runId, 'rank');
  const leavers = members.filter(({ isLeaving }) => isLeaving === true).map(({ workerId }) => workerId);
  if (leavers.length < members.length) releaseLeavers(builder, runId, leavers);
  const left = leaveOutUnreachable(builder, runId, live);
  if (builder.run(runId).live.state !== 'reforming') return left;
  const survivors = builder.membersOf(runId, 'rank');
  const ready = readyNewcomers(builder, state, survivors.length);
  // Where everyone loads the state anyway, idle workers need not get ready first.
  const others = [...builder.joining(runId).filter((worker) => !ready.includes(worker)), ...builder.idle('rank')];
  const idle = goesOn
    ? []
    : withMemoryFor(builder, config, others)
        .filter((worker) => !isCutFromMembers(builder, runId, worker))
        .slice(0, Math.max(0, config.workers - survivors.length - ready.length));
  const experts = goesOn ? chooseExperts(builder, state) : live.experts;
  if (experts.length === 0 && live.experts.length > 0) return expertsLost(builder, runId, live, live.cause);
  releaseUnused(builder, runId, experts);
  const retained = { ...live, experts };
  const formed = formRing(builder, state, retained, [...survivors, ...ready, ...idle], { newcomers: ready });
  // Those that would have stayed were lost: what the others hold is saved before they go.
  const areAllLeaving = [...survivors, ...ready, ...idle].every(({ isLeaving }) => isLeaving === true);
  if (areAllLeaving && goesOn) saveBeforeLeaving(builder, runId, 'rank');
  return left === '' ? formed : `${left}; ${formed}`;
}

/** Whether a member has sent nothing since the ring broke. Those at the beginning of the list that have are not looked at again. */
function awaitsHeartbeats(builder: DecisionBuilder, { runId }: RunState, live: Reforming): boolean {
  const { awaitingHeartbeat, sinceMs } = live;
  const first = awaitingHeartbeat.findIndex((workerId) => {
    const worker = builder.worker(workerId);
    return worker?.runId === runId && builder.heardMs(worker) <= sinceMs;
  });
  const rest = first < 0 ? [] : awaitingHeartbeat.slice(first);
  if (rest.length < awaitingHeartbeat.length) builder.setLive(runId, { ...live, awaitingHeartbeat: rest });
  return rest.length > 0;
}

/** Lets the fewest ranks go without which all members reach each other. They may join again when they are reached again. */
function leaveOutUnreachable(builder: DecisionBuilder, runId: string, live: Reforming): string {
  const members = builder.membersOf(runId).toSorted((a, b) => wanted(a) - wanted(b) || a.order - b.order);
  const sentences = chooseLeftOut(members).map((worker) => {
    const { workerId, hostName, dataPlaneAddress } = worker;
    const cutFrom = members.filter((other) => areCut(worker, other)).map((other) => other.workerId);
    const sentence = `worker ${workerId} on ${hostName} is left out of run ${runId}: ${cutFrom.join(', ')} and its data plane ${dataPlaneAddress} cannot reach each other`;
    builder.command({ kind: 'notify', runId, sentence });
    releaseOne(builder, workerId, runId, sentence);
    const isLost = worker.role === 'expertWorker' && !areExpertsHeld(builder, builder.run(runId).state);
    return isLost ? expertsLost(builder, runId, live, sentence) : sentence;
  });
  return sentences.join('; ');
}

/** Lets expert workers go for which a generation has no number. */
function releaseUnused(builder: DecisionBuilder, runId: string, experts: readonly string[]): void {
  const unused = builder.membersOf(runId, 'expertWorker').filter(({ workerId }) => !experts.includes(workerId));
  for (const { workerId } of unused) releaseOne(builder, workerId, runId, 'the run has all its expert workers');
}

/** Fewer hold what an expert worker does. */
const wanted = ({ role }: ConnectedWorker) => (role === 'expertWorker' ? 0 : 1);

/**
 * Between two steps: a generation follows at once in which the newcomers get the state from the others, without those that
 * leave. The members got `endGeneration` before the decision about the last step.
 */
export function changeMembership(
  builder: DecisionBuilder,
  runId: string,
  { leavers, newcomers, experts }: MembershipChange,
): string {
  const { state, live } = builder.run(runId);
  if (live.state !== 'training') return '';
  releaseLeavers(builder, runId, leavers);
  const stay = builder.membersOf(runId, 'rank');
  const formed = formRing(builder, state, { ...live, experts }, [...stay, ...newcomers], {
    newcomers,
    ...(leavers.length === 0 ? { before: live } : {}),
  });
  const left = leavers.length === 0 ? [] : [`${leavers.join(', ')} left`];
  const arrived = [
    ...newcomers.map(({ workerId }) => workerId),
    ...experts.filter((workerId) => !live.experts.includes(workerId)),
  ];
  const joined = arrived.length === 0 ? [] : [`${arrived.join(', ')} joined`];
  return [...left, ...joined, formed].join('; ');
}

function startWaitingRuns(builder: DecisionBuilder): readonly string[] {
  const reasons: string[] = [];
  if (builder.workers.count('idle/rank') === 0) return reasons;
  const waitingFor = waitingRuns(builder.state, builder.nowMs).filter(({ isDue }) => isDue);
  if (waitingFor.length === 0) return reasons;
  const connected = connectedWorkers(builder.state);
  let known: readonly ConnectedWorker[] | undefined;
  for (const waiting of waitingFor) {
    const { state, startState, isDue } = waiting;
    const left = known?.length ?? builder.workers.count('idle/rank');
    if (waiting.required.workers > left) {
      if (!blocksQueue(waiting, connected)) continue;
      // It keeps all workers that can hold it. Who is left matters only where others wait.
      if (waiting === waitingFor.at(-1) || builder.shortageOf === fitsAll) break;
    }
    const idle: readonly ConnectedWorker[] = known ?? builder.idle('rank');
    const able = withMemoryFor(builder, state.config, idle);
    const size = Math.min(requestedWorkers(state.config).workers, Math.max(waiting.required.workers, able.length));
    const experts = chooseExpertWorkers(builder, waiting);
    if (isDue && startState !== undefined && size <= able.length && experts !== undefined)
      reasons.push(startRun(builder, state, startState, able.slice(0, size), experts));
    else if (!blocksQueue(waiting, connected)) continue;
    // A run that blocks the queue keeps these workers idle until it can start.
    const taken = new Set(able.slice(0, size));
    known = idle.filter((worker) => !taken.has(worker));
    if (known.length === 0) break;
  }
  return reasons;
}

/** The idle workers that will hold the run's experts; undefined while there are too few. */
function chooseExpertWorkers(
  builder: DecisionBuilder,
  { state, required }: WaitingRun,
): readonly ConnectedWorker[] | undefined {
  const able = withMemoryFor(builder, state.config, builder.idle('expertWorker'));
  const idle = sortByHost(able.slice(0, requestedWorkers(state.config).expertWorkers));
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
  const retained = { startState, experts, arrivingExperts: [], firstGeneration, ringFailures: 0, unreported: [] };
  return formRing(builder, state, retained, workers);
}

/** What a generation takes over from the one before. */
interface Predecessor {
  /** Those of the workers that do not hold the state. */
  readonly newcomers: readonly ConnectedWorker[];
  /** The generation before, when all its members are in this one: their parts of its checkpoints still count. */
  readonly before?: Training;
}

/** Begins the next generation: records it, and sends every member its assignment. */
function formRing(
  builder: DecisionBuilder,
  state: RunState,
  retained: RetainedState,
  workers: readonly ConnectedWorker[],
  { newcomers: ready, before }: Predecessor = { newcomers: [] },
): string {
  const { runId } = state;
  const ring = sortByHost(workers);
  const experts = retained.experts.flatMap((workerId) => builder.worker(workerId) ?? []);
  const members = ring.map(({ workerId }) => workerId);
  const workerIds = [...members, ...retained.experts];
  const generation = state.generation + 1;
  const firstStep = state.step + 1;
  const startFrom = chooseStartFrom(state, retained);
  const newcomers = startFrom.kind === 'keep' ? ready.map(({ workerId }) => workerId) : [];
  const expertCopies = chooseCopies(builder, state, experts);
  const numbersOf = (ids: readonly string[]) => ids.map((id) => retained.experts.indexOf(id)).filter((at) => at >= 0);
  const isWithoutState = ({ workerId, runId: of }: ConnectedWorker) =>
    of !== runId || retained.arrivingExperts.includes(workerId);
  const arriving = startFrom.kind === 'keep' ? experts.filter(isWithoutState) : [];
  const holders = startFrom.kind === 'keep' ? expertHolders(builder, state).map(numbersOf) : [];
  const automatic = resolvePrecision(state.config, [...ring, ...experts]);
  const { config } = builder.record(runId, {
    kind: 'assigned',
    generation,
    firstStep,
    state: startFrom.kind,
    workers: ring.map(toRecorded),
    ...(experts.length === 0 ? {} : { expertWorkers: experts.map(toRecorded) }),
    ...(expertCopies.length === 0 ? {} : { expertCopies }),
    ...(newcomers.length === 0 ? {} : { newcomers }),
    ...(automatic === undefined ? {} : { precision: automatic.precision }),
  });
  if (automatic !== undefined) builder.command({ kind: 'writeConfig', runId, config });
  for (const workerId of workerIds) builder.changeWorker(workerId, { runId, joining: undefined });
  // A run that is stopping trains one more step, so every rank gets the stop before that step's decision.
  const stopAfterStep = state.status === 'stopping' ? Math.min(firstStep, config.steps) : undefined;
  builder.setLive(runId, {
    state: 'training',
    generation,
    members,
    newcomers,
    savers: new Map([
      ...(before === undefined ? [] : [[before.generation, memberIds(before)] as const]),
      [generation, workerIds],
    ]),
    votes: VersionedMap.empty(),
    votesSinceMs: undefined,
    parts: before?.parts ?? new Map(),
    manifests: before?.manifests ?? new Set(),
    stopAfterStep,
    preemptedBy: undefined,
    timing: undefined,
    startState: retained.startState,
    experts: retained.experts,
    arrivingExperts: arriving.map(({ workerId }) => workerId),
    firstGeneration: retained.firstGeneration,
    isCheckpointAsked: retained.isCheckpointAsked,
    ringFailures: retained.ringFailures,
    unreported: retained.unreported,
  });
  const addresses = { ring: ring.map(toAddress), experts: experts.map(toAddress) };
  const { furthestStep: trainedToStep } = state;
  builder.command({
    kind: 'assign',
    ...{ runId, generation, config, firstStep, trainedToStep, startFrom, newcomers, ...addresses },
    ...{ expertCopies, expertHolders: holders },
  });
  if (stopAfterStep !== undefined)
    builder.command({ kind: 'stopRun', workerIds, runId, generation, afterStep: stopAfterStep, reason: state.reason });
  const withExperts = experts.length === 0 ? '' : ` with ${experts.length} expert workers`;
  return `run ${runId} begins generation ${generation} at step ${firstStep} on ${ring.length} of ${config.workers} workers${withExperts}${automatic?.reason ?? ''}`;
}

/**
 * What `precision: auto` becomes with these workers, and why; undefined where the precision is given. Its result is recorded,
 * so that all ranks, later generations and resumes compute in the same.
 */
function resolvePrecision(
  { precision, engine }: RunConfig,
  workers: readonly ConnectedWorker[],
): { readonly precision: Precision; readonly reason: string } | undefined {
  if (precision !== AUTOMATIC_PRECISION) return undefined;
  const without = workers.find(({ bf16Backends }) => !bf16Backends.includes(engine.backend));
  if (without === undefined) return { precision: 'bf16', reason: ' in bf16 (auto: every worker has it)' };
  const { workerId, hostName } = without;
  return { precision: 'fp32', reason: ` in fp32 (auto: worker ${workerId} on ${hostName} has no bf16 instructions)` };
}

/** Whether steps were committed since the run started from `startState`: then only its members hold its state. */
function needsRetainedState(state: RunState, retained: RetainedState): boolean {
  return state.step !== retained.startState?.step;
}

function chooseStartFrom(state: RunState, retained: RetainedState): Assign['startFrom'] {
  if (needsRetainedState(state, retained)) return { kind: 'keep' };
  const directory = retained.startState?.directory;
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
