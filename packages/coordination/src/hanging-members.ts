import { duration } from '@weft/common';
import { TIME_BUCKET_NAMES, type TimeBucket } from '@weft/contracts';
import { rankOf, type StepWatch, type Training } from './cluster-state.js';
import type { ConnectedWorker, MemberProgress } from './connected-worker.js';
import type { DecisionBuilder } from './decision-builder.js';
import { comparePositions, UNKNOWN, VOTED } from './step-watch.js';

/** Who is heard of so long after its last answer, and was asked again meanwhile, answers no more. */
const BLOCKED_MS = 1500;
/** Two answers that show the same position must lie so far apart. */
const STILL_MS = 900;

/** Phases whose length says nothing: what they do is seldom done. */
const LONG_PHASES: ReadonlySet<TimeBucket> = new Set([
  'starting',
  'compiling',
  'checkpointing',
  'evaluating',
  'recovering',
  'idle',
]);

/** A member that hangs, and how one knows. */
export interface Hanging {
  readonly worker: ConnectedWorker;
  /** Nothing comes from it, not even from the thread that tells of a blocked event loop. */
  readonly isSilent: boolean;
  readonly phase: TimeBucket | undefined;
  /** One clause. */
  readonly what: string;
}

export type Silent = ReturnType<DecisionBuilder['silentFor']>;

/** The members of which nothing comes, once the generation has committed a step. */
export function silentMembers(builder: DecisionBuilder, live: Training, silent: Silent): readonly Hanging[] {
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

/** When a rank that has not voted last told that it does what takes its time by nature; 0: none has. */
export function lastLongPhaseMs(builder: DecisionBuilder, live: Training): number {
  return live.members.reduce((lastMs, workerId, rank) => {
    const told = live.votes.has(rank) ? undefined : progressIn(builder, workerId, live);
    const isLong = told !== undefined && LONG_PHASES.has(told.phase) && told.atMs <= builder.nowMs;
    return isLong ? Math.max(lastMs, told.atMs) : lastMs;
  }, 0);
}

/** Where a rank is, as of now. */
export interface Answer {
  readonly worker: ConnectedWorker;
  readonly hasVoted: boolean;
  /** Undefined: its event loop is blocked, or it has voted. */
  readonly progress: MemberProgress | undefined;
}

/** Where all ranks are; undefined while some have not answered the last question. Answers of different times are not comparable. */
export function answersOf(builder: DecisionBuilder, live: Training, watch: StepWatch): readonly Answer[] | undefined {
  const { firstAskedMs, askedMs } = watch;
  if (firstAskedMs === undefined || askedMs === undefined) return undefined;
  const answers: Answer[] = [];
  for (const [rank, workerId] of live.members.entries()) {
    const worker = builder.worker(workerId);
    if (worker === undefined) return undefined;
    const told = live.votes.has(rank) ? undefined : progressIn(builder, workerId, live);
    const hasVoted = live.votes.has(rank);
    const isFresh = told !== undefined && told.atMs >= askedMs && told.atMs <= builder.nowMs;
    if (hasVoted || isFresh) answers.push({ worker, hasVoted, progress: told });
    else {
      const answeredMs = Math.max(firstAskedMs, told?.atMs ?? 0);
      // Only once its thread has told that its process lives.
      if (builder.heardMs(worker) < answeredMs + BLOCKED_MS) return undefined;
      answers.push({ worker, hasVoted, progress: undefined });
    }
  }
  return answers;
}

/** The ranks that answer, or whose thread does, and are behind all others, which wait for them. */
export function stuckMembers(
  builder: DecisionBuilder,
  live: Training,
  answers: readonly Answer[],
  deadlineMs: number,
): readonly Hanging[] {
  const { nowMs } = builder;
  const places = answers.map((answer) => ({
    ...answer,
    position: answer.hasVoted ? VOTED : (answer.progress ?? UNKNOWN),
  }));
  const least = places.reduce((min, { position }) => (comparePositions(position, min) < 0 ? position : min), VOTED);
  const behind = places.filter(({ position }) => comparePositions(position, least) === 0);
  if (behind.length === places.length) return [];
  return behind.flatMap(({ worker, progress }): Hanging[] => {
    const told = progressIn(builder, worker.workerId, live);
    if (progress === undefined) {
      // It may still do what it told last, or what follows a step that was saved or evaluated.
      if (live.watch?.isUsual !== true || (told !== undefined && LONG_PHASES.has(told.phase))) return [];
      const what = `does not answer: its event loop is blocked${lastWords(told, nowMs)}`;
      return [{ worker, isSilent: false, phase: undefined, what }];
    }
    const { phase, atMs, stillSinceMs, lastEventMs } = progress;
    if (atMs - stillSinceMs < STILL_MS || nowMs - lastEventMs < deadlineMs / 2) return [];
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

/** For messages. */
export const seconds = (ms: number) => (ms < 60_000 ? `${(ms / 1000).toFixed(1)} s` : duration(ms / 1000));
