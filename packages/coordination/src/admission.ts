import type { RunConfig } from '@weft/config';
import {
  type ConnectedWorker,
  connectedWorkers,
  memberIds,
  type Reforming,
  type Role,
  type Training,
} from './cluster-state.js';
import type { DecisionBuilder } from './decision-builder.js';
import type { EventOf } from './events.js';
import { canGoOnWithoutExperts, chooseExperts, leavingExperts } from './expert-copies.js';
import { withMemoryFor } from './memory.js';
import { isCutFromMembers } from './reachability.js';
import type { RunState } from './run-state.js';
import { blocksQueue, waitingRuns } from './scheduling.js';

/** Who joins and who leaves a run between two steps. */
export interface MembershipChange {
  /** workerIds of ranks that were asked to end. */
  readonly leavers: readonly string[];
  readonly newcomers: readonly ConnectedWorker[];
  /** workerIds of the expert workers that there are then, by number. */
  readonly experts: readonly string[];
}

/** So many idle workers beyond those that a run asks for get ready too, each to take the place of one that is lost. */
const SPARES = 1;

/**
 * Asks idle workers to get ready for active runs: for those that lack some, and as spares. They open the run's engine while
 * the others train on, and join at the end of a step, or with the ring that forms after a loss. A spare is let go for a run of
 * the queue that could start with it.
 */
export function recruit(builder: DecisionBuilder): string {
  const { activeRunIds } = builder.queue;
  if (activeRunIds.length === 0) return '';
  const areWanted =
    builder.queue.state.jobs.length > activeRunIds.length &&
    waitingRuns(builder.state, builder.nowMs).some((waiting) => blocksQueue(waiting, connectedWorkers(builder.state)));
  const reasons = activeRunIds.flatMap((runId) => {
    const run = builder.findRun(runId);
    return run?.live.state === 'training' || run?.live.state === 'reforming'
      ? recruitFor(builder, run.state, run.live, areWanted ? 0 : SPARES)
      : [];
  });
  return reasons.join('; ');
}

function recruitFor(
  builder: DecisionBuilder,
  state: RunState,
  live: Training | Reforming,
  spares: number,
): readonly string[] {
  const { runId, config, generation, step } = state;
  if (!mayChange(state, live) || step + 1 >= config.steps) return [];
  const { workers } = builder;
  const present = workers.count(`members/${runId}/rank`) - workers.count(`leaving/${runId}/rank`);
  const missing = Math.max(0, config.workers - present);
  // Every event asks this, and mostly nothing is to do.
  const lacking = missing + spares - workers.count(`joining/${runId}`);
  const isComplete = lacking === 0 && workers.count('cut') === 0;
  if (isComplete || (lacking > 0 && workers.count('idle/rank') === 0)) return [];
  const able = builder.joining(runId).filter((worker) => !isCutFromMembers(builder, runId, worker));
  for (const { workerId } of able.slice(missing + spares))
    releaseJoining(builder, workerId, runId, 'the run has all its workers');
  const open = missing + spares - able.length;
  if (open <= 0) return [];
  const fit = builder.idle('rank').filter(({ unfitFor }) => unfitFor?.includes(runId) !== true);
  const chosen = withMemoryFor(builder, config, fit).slice(0, open);
  const addresses = (workerIds: readonly string[]) =>
    workerIds.flatMap((workerId) => builder.worker(workerId)?.dataPlaneAddress ?? []);
  if (chosen.length === 0) return [];
  const members = builder.membersOf(runId, 'rank').filter((worker) => !isToLeave(worker, runId));
  // As the ring will be with it: a spare takes the place of a member.
  const ring = members.slice(0, config.workers - 1).map(({ dataPlaneAddress }) => dataPlaneAddress);
  const experts = addresses(live.experts);
  return chosen.map(({ workerId, hostName }) => {
    builder.changeWorker(workerId, { joining: { runId, isReady: false, notBeforeMs: 0 } });
    builder.command({ kind: 'prepare', workerId, runId, generation, config, step: step + 1, ring, experts });
    return `worker ${workerId} on ${hostName} gets ready to join run ${runId}`;
  });
}

/** Handles a worker's answer that it can join a run, or cannot. */
export function prepared(builder: DecisionBuilder, { workerId, runId, failure }: EventOf<'prepared'>): string {
  const worker = builder.worker(workerId);
  if (worker?.joining?.runId !== runId) return `worker ${workerId} is not about to join run ${runId}`;
  if (failure !== undefined) {
    leaveOut(builder, worker, runId);
    return `worker ${workerId} cannot join run ${runId}: ${failure.message}`;
  }
  builder.changeWorker(workerId, { joining: { ...worker.joining, isReady: true } });
  return `worker ${workerId} is ready to join run ${runId}`;
}

/** Never asks this worker again to join this run. */
function leaveOut(builder: DecisionBuilder, { workerId, unfitFor = [] }: ConnectedWorker, runId: string): void {
  builder.changeWorker(workerId, { joining: undefined, unfitFor: [...unfitFor, runId] });
}

/** Handles the wish of a worker to end. As a rank it goes after the current step, without loss for the others. */
export function leaving(builder: DecisionBuilder, workerId: string): string {
  const worker = builder.worker(workerId);
  if (worker === undefined) return '';
  const { joining, held, runId, hostName } = worker;
  builder.changeWorker(workerId, { isLeaving: true, joining: undefined, held: undefined });
  if (joining !== undefined) releaseJoining(builder, workerId, joining.runId, LEFT);
  // Its run is paused: nobody waits for the end of a step.
  if (held !== undefined) releaseOne(builder, workerId, held.runId, LEFT);
  const of = runId === undefined ? '' : ` of run ${runId}`;
  return `worker ${workerId} on ${hostName}${of} was asked to end`;
}

/** Whether a run can go on without those of its members that were asked to end. */
export function canGoOnWithout(builder: DecisionBuilder, { role, runId, workerId }: ConnectedWorker): boolean {
  if (runId === undefined) return false;
  if (role === 'expertWorker') return canGoOnWithoutExperts(builder, builder.run(runId).state, [workerId]);
  const { workers } = builder;
  return workers.count(`members/${runId}/rank`) > workers.count(`leaving/${runId}/rank`);
}

/**
 * All ranks of a run were asked to end: they save the step that they are at, and go when its checkpoint is written.
 * @returns whether they are to save, or are about to anyway
 */
export function saveBeforeLeaving(builder: DecisionBuilder, runId: string, role: Role): boolean {
  const { live, state } = builder.run(runId);
  if (live.state !== 'training') return false;
  const { generation, stopAfterStep } = live;
  // It saves its last step anyway.
  if (stopAfterStep !== undefined || state.step === state.config.steps) return true;
  // The others may go on without it, with the experts of the newest checkpoint.
  if (role === 'expertWorker') return false;
  const afterStep = state.step + 1;
  builder.setLive(runId, { ...live, stopAfterStep: afterStep, isLeft: true });
  const reason = 'its last workers were asked to end';
  builder.command({ kind: 'stopRun', workerIds: memberIds(live), runId, generation, afterStep, reason });
  return true;
}

const LEFT = 'it was asked to end';
const TOO_SLOW = 'it was much slower than the others';

/** Lets one worker go, which drops its state of the run. */
export function releaseOne(builder: DecisionBuilder, workerId: string, runId: string, reason: string): void {
  const { generation } = builder.run(runId).state;
  builder.command({ kind: 'release', workerIds: [workerId], runId, generation, discardState: true, reason });
  builder.changeWorker(workerId, { runId: undefined });
}

function releaseJoining(builder: DecisionBuilder, workerId: string, runId: string, reason: string): void {
  builder.changeWorker(workerId, { joining: undefined });
  releaseOne(builder, workerId, runId, reason);
}

/** Lets leavers go at the end of a step. */
export function releaseLeavers(builder: DecisionBuilder, runId: string, leavers: readonly string[]): void {
  for (const workerId of leavers)
    releaseOne(builder, workerId, runId, builder.worker(workerId)?.isLeaving === true ? LEFT : TOO_SLOW);
}

/**
 * Who joins and who leaves now that a step is committed; undefined when nothing changes.
 * @param isSaved whether a checkpoint is saved after the step
 */
export function dueChange(builder: DecisionBuilder, runId: string, isSaved: boolean): MembershipChange | undefined {
  const { state, live } = builder.run(runId);
  if (live.state !== 'training' || !mayChange(state, live) || state.step >= state.config.steps) return undefined;
  const { config, step } = state;
  if (isMeasured(config, step) && !isMeasured(config, step + 1)) return undefined;
  const asked = builder.workers.group(`leaving/${runId}/rank`).map(({ workerId }) => workerId);
  const mayGo = !isSaving(state, live, isSaved);
  const ranks = mayGo && asked.length < live.members.length ? asked : [];
  const newcomers = readyNewcomers(builder, state, live.members.length - ranks.length);
  const goneExperts = mayGo ? leavingExperts(builder, state) : [];
  const { workers } = builder;
  const isGrowing = live.experts.length < config.expertWorkers && workers.count('idle/expertWorker') > 0;
  const mayDiffer = live.experts.length > 0 && (goneExperts.length > 0 || isGrowing);
  const experts = mayDiffer ? chooseExperts(builder, state, goneExperts) : live.experts;
  const isSame = experts.length === live.experts.length && experts.every((id, at) => id === live.experts[at]);
  if (isSame && ranks.length + newcomers.length === 0) return undefined;
  return { leavers: [...ranks, ...goneExperts], newcomers, experts };
}

/** Whether it was asked to end, or is not to be in this run any more. */
function isToLeave({ isLeaving, unfitFor }: ConnectedWorker, runId: string): boolean {
  return isLeaving === true || unfitFor?.includes(runId) === true;
}

/** The workers that can join now, as many as the run lacks. */
export function readyNewcomers(
  builder: DecisionBuilder,
  { runId, config, step }: RunState,
  members: number,
): readonly ConnectedWorker[] {
  if (step >= config.steps || builder.workers.count(`joining/${runId}`) === 0) return [];
  const ready = builder.joining(runId).filter((worker) => {
    const { isReady = false, notBeforeMs = 0 } = worker.joining ?? {};
    return isReady && notBeforeMs <= builder.nowMs && !isCutFromMembers(builder, runId, worker);
  });
  return ready.slice(0, Math.max(0, config.workers - members));
}

/** Whether nothing ends the run or its generation soon. */
function mayChange({ status }: RunState, live: Training | Reforming): boolean {
  return status === 'running' && (live.state === 'reforming' || live.stopAfterStep === undefined);
}

/** Whether all ranks evaluate the model after a step, in the ring of the generation that took it. */
export function isMeasured({ evaluation }: Pick<RunConfig, 'evaluation'>, step: number): boolean {
  const { everySteps, sequencesPerSource, tasks, tasksEverySteps } = evaluation;
  const isDue = (every: number) => every > 0 && step % every === 0;
  return (sequencesPerSource > 0 && isDue(everySteps)) || (Object.keys(tasks).length > 0 && isDue(tasksEverySteps));
}

/** Whether a member still has a part of a checkpoint to write. It would be lost with a member that leaves. */
function isSaving({ config, checkpointStep }: RunState, live: Training, isSaved: boolean): boolean {
  const { everySteps } = config.checkpoint;
  if (everySteps === 1) return false;
  return isSaved || live.parts.size > 0 || [...live.manifests].some((each) => each > checkpointStep);
}

/** A ring broke in which these expert workers had no state yet, which may have been their fault. */
export function newExpertsFailed(builder: DecisionBuilder, runId: string, workerIds: readonly string[]): void {
  for (const workerId of workerIds) {
    const worker = builder.worker(workerId);
    if (worker?.runId !== runId) continue;
    const joinFailures = (worker.joinFailures ?? 0) + 1;
    builder.changeWorker(workerId, { joinFailures });
    if (joinFailures < MAX_JOIN_FAILURES) continue;
    leaveOut(builder, worker, runId);
    releaseOne(builder, workerId, runId, `no ring formed with it, ${joinFailures} times in a row`);
  }
}

const FIRST_PAUSE_MS = 3000;
/** After so many generations in a row that did not form with it, a worker is not asked again to join this run. */
const MAX_JOIN_FAILURES = 4;

/**
 * The generation is over before its newcomers had the state: they wait for the next one. To be called once they are
 * released. @param isSuspect whether the ring broke, which may have been their fault: then the others go on without them
 */
export function newcomersWait(builder: DecisionBuilder, live: Training, runId: string, isSuspect: boolean): void {
  for (const workerId of live.newcomers) {
    const worker = builder.worker(workerId);
    if (worker?.runId !== runId) continue;
    const failures = (worker.joinFailures ?? 0) + (isSuspect ? 1 : 0);
    builder.changeWorker(workerId, { runId: undefined, joinFailures: failures });
    const notBeforeMs = isSuspect ? builder.nowMs + FIRST_PAUSE_MS * 2 ** (failures - 1) : 0;
    if (failures < MAX_JOIN_FAILURES)
      builder.changeWorker(workerId, { joining: { runId, isReady: true, notBeforeMs } });
    else {
      leaveOut(builder, worker, runId);
      releaseOne(builder, workerId, runId, `no ring formed with it, ${failures} times in a row`);
    }
  }
}
