import { median } from '@weft/common';
import type { StepWatch, Training } from './cluster-state.js';
import type { MemberProgress, ToldProgress } from './connected-worker.js';

/** No step is looked at sooner than this after the one before it. */
const LEAST_DEADLINE_MS = 3000;
/** How many robust standard deviations over the median a step may take. */
const DEVIATIONS = 8;
const DEVIATIONS_PER_MAD = 1.4826;
/** Fewer step times say nothing of the next one. */
const FEWEST_STEPS = 5;
const KEPT_STEPS = 50;

/**
 * Nothing is known yet of the step that begins now.
 * @param isUsual whether nothing but training lies between the step before and this one
 */
export function watchFrom(nowMs: number, isUsual: boolean): StepWatch {
  const nobody = new Map<string, never>();
  return { sinceMs: nowMs, isUsual, firstAskedMs: undefined, askedMs: undefined, named: nobody, behindSinceMs: nobody };
}

/** How long a step takes begins anew. Who was named in it is not named again. */
export function restartWatch(watch: StepWatch, nowMs: number): StepWatch {
  return { ...watchFrom(nowMs, watch.isUsual), named: watch.named };
}

/**
 * How long the next step may take before its members are asked where they are: by the median of the last steps and their
 * median absolute deviation. Steps that have become slower count at once. Undefined while too few are known.
 */
export function stepDeadlineMs(stepMs: readonly number[] = []): number | undefined {
  if (stepMs.length < FEWEST_STEPS) return undefined;
  const known = deadlines.get(stepMs);
  if (known !== undefined) return known;
  const middle = median(stepMs);
  const deviation = DEVIATIONS_PER_MAD * median(stepMs.map((each) => Math.abs(each - middle)));
  const slowest = Math.max(middle, median(stepMs.slice(-FEWEST_STEPS)));
  const deadlineMs = Math.max(LEAST_DEADLINE_MS, 1.5 * slowest, middle + DEVIATIONS * deviation);
  deadlines.set(stepMs, deadlineMs);
  return deadlineMs;
}

/** Every tick asks for them. */
const deadlines = new WeakMap<readonly number[], number>();

/** The step times after one more. */
export function learnStepMs({ stepMs = [], timing, watch }: Training, nowMs: number): readonly number[] {
  // The first step of a generation forms its ring, and may compile.
  if (timing === undefined || watch === undefined || !watch.isUsual) return stepMs;
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
  // The clock may have been set back.
  const stillSinceMs = isStill ? Math.min(before.stillSinceMs, nowMs) : nowMs;
  return { ...told, atMs: nowMs, lastEventMs: nowMs - lastEventSeconds * 1000, stillSinceMs };
}

/** Where a member is in its step. */
export type Position = Pick<MemberProgress, 'step' | 'parts' | 'ringOperations' | 'ringBytes'>;
/** Of a rank that waits for the decision. */
export const VOTED: Position = { step: Infinity, parts: 0, ringOperations: 0, ringBytes: 0 };
/** Of one that does not answer. */
export const UNKNOWN: Position = { step: -1, parts: 0, ringOperations: 0, ringBytes: 0 };

/** Chunks of ranks differ by a value in size. */
const SAME_BYTES = 1024;

/** Who is further, in the order in which every rank does things. */
export function comparePositions(a: Position, b: Position): number {
  if (a.step !== b.step) return a.step - b.step;
  if (a.parts !== b.parts) return a.parts - b.parts;
  if (a.ringOperations !== b.ringOperations) return a.ringOperations - b.ringOperations;
  return Math.abs(a.ringBytes - b.ringBytes) <= SAME_BYTES ? 0 : a.ringBytes - b.ringBytes;
}
