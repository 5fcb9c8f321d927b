import type { TimeBucket } from '@weft/contracts';
import { releaseOne } from './admission.js';
import { describeMember, memberIndex, type StepWatch, type Training } from './cluster-state.js';
import type { DecisionBuilder } from './decision-builder.js';
import {
  type Answer,
  answersOf,
  type Hanging,
  lastLongPhaseMs,
  type Silent,
  seconds,
  silentMembers,
  stuckMembers,
} from './hanging-members.js';
import type { RunState } from './run-state.js';
import { lastStepOfGeneration } from './run-termination.js';
import { restartWatch, stepDeadlineMs } from './step-watch.js';
import { ringBroken, workerLost } from './worker-lost.js';

/** How often the members of an overdue step are asked where they are. */
const ASK_INTERVAL_MS = 1000;
/** The part of the heartbeat timeout after which silence is named. A blocked event loop's thread is heard of sooner. */
const SILENT_PART = 0.4;
/** While it computes, reads or waits for others, a rank that is behind has so many deadlines: its steps may just have become slow. */
const SLOW_DEADLINES = 10;
/** A collective in which no rank is behind the others is given up after so many deadlines. */
const STUCK_DEADLINES = 4;
/** After so many hangs in a run a worker is not asked again to join it. */
const MOST_HANGS = 3;
/** Whoever takes part in a generation for so many steps is well: its hangs are forgotten. */
const WELL_STEPS = 50;

/** Phases in which a rank is part of a collective, which ends for all of them at about the same time. */
const IN_RING: ReadonlySet<TimeBucket | undefined> = new Set(['communicating', 'waitingForStraggler']);

/** To be called with every tick: finds the members that hang, names them, and leaves them out where the others wait. */
export function watchHangs(builder: DecisionBuilder): readonly string[] {
  const well = askHung(builder);
  const silent = builder.silentFor(SILENT_PART * builder.timeouts.heartbeatTimeoutMs);
  const found = builder.queue.activeRunIds.flatMap((runId) => {
    const run = builder.findRun(runId);
    if (run?.live.state !== 'training') return [];
    return watchRun(builder, run.state, run.live, silent);
  });
  return [...well, ...found];
}

/** The coordinator stood still: how long a step takes begins anew. */
export function restartWatches(builder: DecisionBuilder): void {
  for (const runId of builder.queue.activeRunIds) {
    const live = builder.findRun(runId)?.live;
    if (live?.state === 'training' && live.watch !== undefined)
      builder.setLive(runId, { ...live, watch: restartWatch(live.watch, builder.nowMs) });
  }
}

/** To be called with every commit: members that have trained for long enough have not hung since. */
export function forgetHangs(builder: DecisionBuilder, { members, timing }: Training): void {
  if (timing === undefined || timing.lastStep - timing.firstStep + 1 !== WELL_STEPS) return;
  for (const workerId of members)
    if (builder.worker(workerId)?.hangs !== undefined) builder.changeWorker(workerId, { hangs: undefined });
}

function watchRun(builder: DecisionBuilder, state: RunState, live: Training, all: Silent): readonly string[] {
  const { runId } = state;
  const { nowMs } = builder;
  const silent = silentMembers(builder, live, all);
  const sentences = silent.flatMap((each) => name(builder, state, each));
  const deadlineMs = stepDeadlineMs(live.stepMs);
  const isOver = state.step >= lastStepOfGeneration(state, live);
  const { watch } = live;
  if (watch === undefined || deadlineMs === undefined || live.timing === undefined || isOver) return sentences;
  if (nowMs - watch.sinceMs <= deadlineMs) return sentences;
  const longMs = lastLongPhaseMs(builder, live);
  if (longMs > watch.sinceMs) {
    changeWatch(builder, runId, (each) => ({ ...restartWatch(each, longMs), isUsual: false }));
    return sentences;
  }
  const answers = answersOf(builder, live, watch);
  // Whoever sends nothing is named for that; the others wait for it.
  const stuck =
    silent.length > 0 || answers === undefined ? undefined : stuckMembers(builder, live, answers, deadlineMs);
  if (stuck !== undefined) noteBehind(builder, runId, stuck);
  ask(builder, runId, live, watch);
  const found = [...silent, ...(stuck ?? [])];
  sentences.push(...found.flatMap((each) => name(builder, state, each)));
  const left = leaveOut(builder, state, found, deadlineMs);
  if (left !== undefined) return [...sentences, ...left];
  return [...sentences, ...breakStuck(builder, live, state, answers, deadlineMs)];
}

/** Remembers since when each of them is behind without a pause. */
function noteBehind(builder: DecisionBuilder, runId: string, stuck: readonly Hanging[]): void {
  changeWatch(builder, runId, (watch) => {
    const { behindSinceMs: before } = watch;
    if (before.size === 0 && stuck.length === 0) return watch;
    const ids = stuck.map(({ worker }) => worker.workerId);
    return { ...watch, behindSinceMs: new Map(ids.map((id) => [id, before.get(id) ?? builder.nowMs])) };
  });
}

function changeWatch(builder: DecisionBuilder, runId: string, change: (watch: StepWatch) => StepWatch): void {
  const { live } = builder.run(runId);
  if (live.state !== 'training' || live.watch === undefined) return;
  const watch = change(live.watch);
  if (watch !== live.watch) builder.setLive(runId, { ...live, watch });
}

/** Names a member once in a step: in the log, to those who follow the run, and where its ranks are shown. */
function name(builder: DecisionBuilder, { runId, step, generation }: RunState, hanging: Hanging): readonly string[] {
  const { live } = builder.run(runId);
  const { worker, what, phase } = hanging;
  if (live.state !== 'training') return [];
  const { watch } = live;
  if (watch === undefined || watch.named.has(worker.workerId)) return [];
  const member = describeMember(live, worker.workerId);
  const sentence = `${member} (${worker.workerId} on ${worker.hostName}) hangs in step ${step + 1}: it ${what}`;
  const named = new Map(watch.named).set(worker.workerId, what);
  builder.setLive(runId, { ...live, watch: { ...watch, named } });
  const { workerId, hostName } = worker;
  const where = { generation, ...memberIndex(live, workerId), workerId, hostName, step: step + 1 };
  builder.record(runId, { kind: 'hung', ...where, ...(phase === undefined ? {} : { phase }), reason: what });
  builder.command({ kind: 'notify', runId, sentence });
  return [sentence];
}

/**
 * Goes on without the ranks that hang. Experts have no other copy, so expert workers have the whole heartbeat timeout.
 * @returns undefined when no rank hangs
 */
function leaveOut(
  builder: DecisionBuilder,
  { runId }: RunState,
  found: readonly Hanging[],
  deadlineMs: number,
): readonly string[] | undefined {
  const { live } = builder.run(runId);
  if (live.state !== 'training') return undefined;
  const ranks = found.filter(({ worker }) => live.members.includes(worker.workerId));
  if (ranks.length === 0) return undefined;
  // Where most hang, what they wait for is at fault, and not they.
  if (ranks.length * 2 > live.members.length) return [];
  const { heartbeatTimeoutMs } = builder.timeouts;
  return ranks.flatMap(({ worker, isSilent, phase, what }) => {
    const { workerId, hostName } = worker;
    const behindSinceMs = live.watch?.behindSinceMs.get(workerId) ?? builder.nowMs;
    const patienceMs = IN_RING.has(phase) ? deadlineMs : Math.max(SLOW_DEADLINES * deadlineMs, heartbeatTimeoutMs);
    // An answer shows that the process lives: it may yet get on.
    if (!isSilent && builder.nowMs - behindSinceMs <= patienceMs) return [];
    const reason = `it hung: it ${what}`;
    if (isSilent) {
      const message = `the coordinator gave up worker ${workerId}: ${reason}`;
      builder.command({ kind: 'dismiss', workerId, code: 'deadline_exceeded', message });
      builder.removeWorker(workerId);
    } else {
      releaseOne(builder, workerId, runId, reason);
      const hangs = (worker.hangs ?? 0) + 1;
      const unfit = hangs < MOST_HANGS ? {} : { unfitFor: [...(worker.unfitFor ?? []), runId] };
      builder.changeWorker(workerId, { hungAskedMs: builder.nowMs, hangs, ...unfit });
    }
    return [`worker ${workerId} on ${hostName} is left out`, workerLost(builder, worker, runId, reason)];
  });
}

/** All ranks stand at the same place of a collective: the ring forms again. */
function breakStuck(
  builder: DecisionBuilder,
  { members, votes, watch }: Training,
  { runId, step, generation }: RunState,
  answers: readonly Answer[] | undefined,
  deadlineMs: number,
): readonly string[] {
  const overdueMs = builder.nowMs - (watch?.sinceMs ?? builder.nowMs) - deadlineMs;
  if (answers === undefined || overdueMs <= STUCK_DEADLINES * deadlineMs || votes.size > 0) return [];
  const areStill = answers.every(({ progress }) => {
    if (progress?.phase !== 'communicating') return false;
    return builder.nowMs - Math.max(progress.stillSinceMs, progress.lastEventMs) > deadlineMs;
  });
  if (!areStill) return [];
  const reason = `no rank has got on in its collective for ${seconds(overdueMs)}`;
  return [
    ringBroken(builder, { kind: 'ringBroken', workerId: members[0]!, runId, generation, step: step + 1, reason }),
  ];
}

function ask(builder: DecisionBuilder, runId: string, { members, experts }: Training, before: StepWatch): void {
  const { nowMs } = builder;
  if (before.askedMs !== undefined && nowMs - before.askedMs < ASK_INTERVAL_MS) return;
  changeWatch(builder, runId, (watch) => ({ ...watch, firstAskedMs: watch.firstAskedMs ?? nowMs, askedMs: nowMs }));
  builder.command({ kind: 'askProgress', workerIds: [...members, ...experts] });
}

/** Asks those that were left out, and live, where they are: once they have nothing to do any more they may join again. */
function askHung(builder: DecisionBuilder): readonly string[] {
  return builder.workers.group('hung').flatMap(({ workerId, hostName, hungAskedMs = 0 }) => {
    const progress = builder.progressOf(workerId);
    if (progress !== undefined && progress.atMs > hungAskedMs && progress.runId === '' && progress.phase === 'idle') {
      builder.changeWorker(workerId, { hungAskedMs: undefined });
      return [`worker ${workerId} on ${hostName} is well again`];
    }
    if (builder.nowMs - hungAskedMs < 2 * ASK_INTERVAL_MS) return [];
    builder.changeWorker(workerId, { hungAskedMs: builder.nowMs });
    builder.command({ kind: 'askProgress', workerIds: [workerId] });
    return [];
  });
}
