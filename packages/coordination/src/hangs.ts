import { duration, median } from '@weft/common';
import { TIME_BUCKET_NAMES, type TimeBucket } from '@weft/contracts';
import { releaseOne } from './admission.js';
import {
  type ConnectedWorker,
  describeMember,
  memberIndex,
  rankOf,
  type StepWatch,
  type Training,
} from './cluster-state.js';
import type { MemberProgress, ToldProgress } from './connected-worker.js';
import type { DecisionBuilder } from './decision-builder.js';
import type { RunState } from './run-state.js';
import { lastStepOfGeneration } from './run-termination.js';
import { ringBroken, workerLost } from './worker-lost.js';

/** No step is looked at sooner than this after the one before it. */
const LEAST_DEADLINE_MS = 3000;
/** How many robust standard deviations over the median a step may take. */
const DEVIATIONS = 8;
const DEVIATIONS_PER_MAD = 1.4826;
/** Fewer step times say nothing of the next one. */
const FEWEST_STEPS = 5;
const KEPT_STEPS = 50;
/** How often the members of an overdue step are asked where they are. */
const ASK_INTERVAL_MS = 1000;
/** The part of the heartbeat timeout after which silence is named. A blocked event loop's thread is heard of sooner. */
const SILENT_PART = 0.4;
/** The ring must have stood still for so long between two answers. */
const STILL_MS = 900;
/** A collective in which no rank is behind the others is given up after so many deadlines. */
const STUCK_DEADLINES = 4;
/** After so many hangs in a run a worker is not asked again to join it. */
const MOST_HANGS = 3;

/** Phases whose length says nothing: what they do is seldom done. */
const LONG_PHASES: ReadonlySet<TimeBucket> = new Set([
  'starting',
  'compiling',
  'checkpointing',
  'evaluating',
  'recovering',
  'idle',
]);

/** Nothing is known yet of the step that begins now. */
export function watchFrom(nowMs: number): StepWatch {
  return { sinceMs: nowMs, firstAskedMs: undefined, askedMs: undefined, named: new Map() };
}

/**
 * How long the next step may take before its members are asked where they are: by the median of the last steps and their
 * median absolute deviation. Undefined while too few are known.
 */
export function stepDeadlineMs(stepMs: readonly number[] = []): number | undefined {
  if (stepMs.length < FEWEST_STEPS) return undefined;
  const known = deadlines.get(stepMs);
  if (known !== undefined) return known;
  const middle = median(stepMs);
  const deviation = DEVIATIONS_PER_MAD * median(stepMs.map((each) => Math.abs(each - middle)));
  const deadlineMs = Math.max(LEAST_DEADLINE_MS, 1.5 * middle, middle + DEVIATIONS * deviation);
  deadlines.set(stepMs, deadlineMs);
  return deadlineMs;
}

/** Every tick asks for them. */
const deadlines = new WeakMap<readonly number[], number>();

/** The step times after one more, which `isUsual` when nothing but training lay in it. */
export function learnStepMs(
  { stepMs = [], timing, watch }: Training,
  nowMs: number,
  isUsual: boolean,
): readonly number[] {
  // The first step of a generation forms its ring, and may compile.
  if (timing === undefined || watch === undefined || !isUsual) return stepMs;
  return [...stepMs, nowMs - watch.sinceMs].slice(-KEPT_STEPS);
}

/** What is known of where a worker is, once it has told. @param before as it was known until then */
export function learnProgress(
  before: MemberProgress | undefined,
  { lastEventSeconds, ...told }: ToldProgress,
  nowMs: number,
): MemberProgress {
  const isStill =
    before?.runId === told.runId && before.generation === told.generation && comparePositions(before, told) === 0;
  const stillSinceMs = isStill ? before.stillSinceMs : nowMs;
  return { ...told, atMs: nowMs, lastEventMs: nowMs - lastEventSeconds * 1000, stillSinceMs };
}

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
      builder.setLive(runId, { ...live, watch: watchFrom(builder.nowMs) });
  }
}

function watchRun(builder: DecisionBuilder, state: RunState, live: Training, all: Silent): readonly string[] {
  const { runId } = state;
  const { nowMs } = builder;
  const silent = silentMembers(builder, live, all);
  const deadlineMs = stepDeadlineMs(live.stepMs);
  const { watch } = live;
  const isOver = state.step >= lastStepOfGeneration(state, live);
  const overdueMs = watch === undefined || deadlineMs === undefined || isOver ? 0 : nowMs - watch.sinceMs - deadlineMs;
  const isOverdue = overdueMs > 0 && live.timing !== undefined;
  const stuck = isOverdue && deadlineMs !== undefined ? stuckMembers(builder, live, silent, deadlineMs) : [];
  if (isOverdue) ask(builder, runId, live);
  const found = [...silent, ...stuck];
  const sentences = found.flatMap((each) => name(builder, state, each));
  if (!isOverdue || deadlineMs === undefined) return sentences;
  return [...sentences, ...leaveOut(builder, state, found, deadlineMs, overdueMs)];
}

/** A member that hangs, and how one knows. */
interface Hanging {
  readonly worker: ConnectedWorker;
  /** Nothing comes from it, not even from the thread that tells of a blocked event loop. */
  readonly isSilent: boolean;
  readonly phase: TimeBucket | undefined;
  /** One clause. */
  readonly what: string;
}

type Silent = ReturnType<DecisionBuilder['silentFor']>;

function silentMembers(builder: DecisionBuilder, live: Training, silent: Silent): readonly Hanging[] {
  const { nowMs } = builder;
  // Opening the engine for the first step may take all that a machine has.
  if (live.timing === undefined) return [];
  return silent.flatMap(({ worker, heardMs }): Hanging[] => {
    const { workerId } = worker;
    if (rankOf(live.members, workerId) < 0 && !live.experts.includes(workerId)) return [];
    const progress = progressIn(builder, workerId, live);
    const what = `has sent nothing for ${seconds(nowMs - heardMs)}${lastWords(progress, nowMs)}`;
    return [{ worker, isSilent: true, phase: progress?.phase, what }];
  });
}

/** The ranks that answer, and are behind all others, which wait for them. */
function stuckMembers(
  builder: DecisionBuilder,
  live: Training,
  silent: readonly Hanging[],
  deadlineMs: number,
): readonly Hanging[] {
  const { nowMs } = builder;
  const { firstAskedMs } = live.watch ?? {};
  // Whoever sends nothing is named for that; the others wait for it.
  if (firstAskedMs === undefined || silent.length > 0) return [];
  const places = live.members.flatMap((workerId, rank) => {
    const worker = builder.worker(workerId);
    if (worker === undefined) return [];
    const told = progressIn(builder, workerId, live);
    const progress = told !== undefined && told.atMs >= firstAskedMs ? told : undefined;
    return [{ worker, progress, position: live.votes.has(rank) ? VOTED : (progress ?? UNKNOWN) }];
  });
  const least = places.reduce((min, { position }) => (comparePositions(position, min) < 0 ? position : min), VOTED);
  const behind = places.filter(({ position }) => comparePositions(position, least) === 0);
  if (behind.length === places.length) return [];
  if (behind.some(({ progress }) => progress !== undefined && LONG_PHASES.has(progress.phase))) return [];
  return behind.flatMap(({ worker, progress }): Hanging[] => {
    if (progress === undefined) {
      // Only once its thread has told that its process lives.
      if (builder.heardMs(worker) <= firstAskedMs + ASK_INTERVAL_MS) return [];
      const words = lastWords(progressIn(builder, worker.workerId, live), nowMs);
      return [
        { worker, isSilent: false, phase: undefined, what: `does not answer: its event loop is blocked${words}` },
      ];
    }
    const { phase, stillSinceMs, lastEventMs } = progress;
    if (nowMs - stillSinceMs < STILL_MS || nowMs - lastEventMs < deadlineMs / 2) return [];
    return [{ worker, isSilent: false, phase, what: `stands still${lastWords(progress, nowMs)}` }];
  });
}

/** Where a member is in this generation, as it last told; undefined: it has not. */
function progressIn(builder: DecisionBuilder, workerId: string, { generation }: Training): MemberProgress | undefined {
  const progress = builder.progressOf(workerId);
  const { runId } = builder.worker(workerId) ?? {};
  return progress?.runId === runId && progress?.generation === generation ? progress : undefined;
}

function lastWords(progress: MemberProgress | undefined, nowMs: number): string {
  if (progress === undefined) return '';
  const { phase, lastEvent, lastEventMs, step } = progress;
  const ago = seconds(nowMs - lastEventMs);
  return `; it was ${TIME_BUCKET_NAMES[phase]}, and the last it did was ${lastEvent} of step ${step}, ${ago} ago`;
}

/** Names a member once in a step: in the log, to those who follow the run, and where its ranks are shown. */
function name(builder: DecisionBuilder, { runId, step, generation }: RunState, hanging: Hanging): readonly string[] {
  const { live } = builder.run(runId);
  const { worker, what, phase } = hanging;
  if (live.state !== 'training') return [];
  const watch = live.watch ?? watchFrom(builder.nowMs);
  if (watch.named.has(worker.workerId)) return [];
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

/** Goes on without the ranks that hang. Experts have no other copy, so expert workers have the whole heartbeat timeout. */
function leaveOut(
  builder: DecisionBuilder,
  { runId, step }: RunState,
  found: readonly Hanging[],
  deadlineMs: number,
  overdueMs: number,
): readonly string[] {
  const { live } = builder.run(runId);
  if (live.state !== 'training') return [];
  const ranks = found.filter(({ worker }) => live.members.includes(worker.workerId));
  // Where most hang, what they wait for is at fault, and not they.
  if (ranks.length === 0 || ranks.length * 2 > live.members.length)
    return ranks.length === 0 ? breakStuck(builder, runId, live, step, deadlineMs, overdueMs) : [];
  return ranks.flatMap(({ worker, isSilent, what }) => {
    const { workerId, hostName } = worker;
    // An answer shows that the process lives: it may yet get on.
    if (!isSilent && overdueMs <= deadlineMs) return [];
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
  runId: string,
  live: Training,
  step: number,
  deadlineMs: number,
  overdueMs: number,
): readonly string[] {
  const { generation, members, votes } = live;
  if (overdueMs <= STUCK_DEADLINES * deadlineMs || votes.size > 0) return [];
  const answers = members.flatMap((workerId) => progressIn(builder, workerId, live) ?? []);
  const areStill = answers.every(({ phase, stillSinceMs, lastEventMs }) => {
    const sinceMs = Math.max(stillSinceMs, lastEventMs);
    return phase === 'communicating' && builder.nowMs - sinceMs > deadlineMs;
  });
  if (answers.length < members.length || !areStill) return [];
  const reason = `no rank has got on in its collective for ${seconds(overdueMs)}`;
  return [
    ringBroken(builder, { kind: 'ringBroken', workerId: members[0]!, runId, generation, step: step + 1, reason }),
  ];
}

function ask(builder: DecisionBuilder, runId: string, { members, experts, watch }: Training): void {
  const { live } = builder.run(runId);
  if (live.state !== 'training' || watch === undefined) return;
  if (watch.askedMs !== undefined && builder.nowMs - watch.askedMs < ASK_INTERVAL_MS) return;
  const firstAskedMs = watch.firstAskedMs ?? builder.nowMs;
  builder.setLive(runId, { ...live, watch: { ...(live.watch ?? watch), firstAskedMs, askedMs: builder.nowMs } });
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

type Position = Pick<MemberProgress, 'step' | 'parts' | 'ringOperations' | 'ringBytes'>;
/** Of a rank that waits for the decision. */
const VOTED: Position = { step: Infinity, parts: 0, ringOperations: 0, ringBytes: 0 };
/** Of one that has not answered. */
const UNKNOWN: Position = { step: -1, parts: 0, ringOperations: 0, ringBytes: 0 };

/** Chunks of ranks differ by a value in size. */
const SAME_BYTES = 1024;

/** Who is further, in the order in which every rank does things. */
function comparePositions(a: Position, b: Position): number {
  if (a.step !== b.step) return a.step - b.step;
  if (a.parts !== b.parts) return a.parts - b.parts;
  if (a.ringOperations !== b.ringOperations) return a.ringOperations - b.ringOperations;
  return Math.abs(a.ringBytes - b.ringBytes) <= SAME_BYTES ? 0 : a.ringBytes - b.ringBytes;
}

const seconds = (ms: number) => (ms < 60_000 ? `${(ms / 1000).toFixed(1)} s` : duration(ms / 1000));
