import { isJsonObject } from '@weft/common';
import type { BucketSeconds as BucketSecondsMessage } from '@weft/proto';

/**
 * What a second of a worker was spent on. Every second of a run is in exactly one of these.
 *
 * | bucket | what it is |
 * |---|---|
 * | `queued` | the run waits for its first workers; counted for as many workers as it needs |
 * | `starting` | a worker joins the ring, opens data and engine, makes the first state |
 * | `compiling` | phases run for the first time, which compiles them |
 * | `waitingForData` | the batch of the step is not read yet |
 * | `computing` | forward and backward pass, measuring, the optimizer |
 * | `communicating` | the all-reduce that nothing hides, the vote, the decision |
 * | `waitingForStraggler` | the all-reduce stands still because another rank still computes |
 * | `waitingForExperts` | nothing can be computed before an expert worker answers |
 * | `checkpointing` | training stands still for a checkpoint |
 * | `evaluating` | held-out losses and scores of tasks |
 * | `recovering` | from a lost worker, a broken ring or a restart to the next step; the steps given up with it; the wait in the queue after it |
 * | `redoingLostWork` | steps that were committed before, and rolled back |
 * | `idle` | a worker of the run has nothing to do: an expert worker between requests |
 */
export const TIME_BUCKETS = [
  'queued',
  'starting',
  'compiling',
  'waitingForData',
  'computing',
  'communicating',
  'waitingForStraggler',
  'waitingForExperts',
  'checkpointing',
  'evaluating',
  'recovering',
  'redoingLostWork',
  'idle',
] as const;

/** One of `TIME_BUCKETS`. */
export type TimeBucket = (typeof TIME_BUCKETS)[number];

/** `TIME_BUCKETS` in words. */
export const TIME_BUCKET_NAMES: Readonly<Record<TimeBucket, string>> = {
  queued: 'queued',
  starting: 'starting',
  compiling: 'compiling',
  waitingForData: 'waiting for data',
  computing: 'computing',
  communicating: 'communicating',
  waitingForStraggler: 'waiting for a slower rank',
  waitingForExperts: 'waiting for experts',
  checkpointing: 'checkpointing',
  evaluating: 'evaluating',
  recovering: 'recovering',
  redoingLostWork: 'redoing lost steps',
  idle: 'idle',
};

/** Seconds by what they were spent on. */
export type WorkTime = Readonly<Record<TimeBucket, number>>;

/** The times of a run as they are kept, so that the next coordinator goes on with them. */
export interface StoredWorkTimes {
  readonly spent: WorkTime;
  /** Seconds of workers that the run had, without those of its waits. */
  readonly heldSeconds: number;
  /** When this was so, milliseconds since the Unix epoch. */
  readonly atMs: number;
  /** What went on then, to account for the time until a coordinator goes on with the run: so many workers spent it on this. */
  readonly open: { readonly workers: number; readonly bucket: TimeBucket; readonly areHeld: boolean } | null;
}

/** Where the time of a run went: `goodput.json` beside it. */
export interface RunGoodput {
  readonly times: StoredWorkTimes;
  readonly spent: WorkTime;
  /** The part of it that was productive, see `goodput`; null before there is any. */
  readonly goodput: number | null;
  /** Of the worker hours that the run had; null where the coordinator was given no price. */
  readonly cost: number | null;
  /** The median of the last steps; null before there are some. */
  readonly secondsPerStep: number | null;
}

/** What makes the model better. */
const PRODUCTIVE: readonly TimeBucket[] = ['computing', 'communicating', 'evaluating'];

/** No time at all, to be added to. */
export function noTime(): Record<TimeBucket, number> {
  return Object.fromEntries(TIME_BUCKETS.map((bucket) => [bucket, 0])) as Record<TimeBucket, number>;
}

/** Bucket by bucket, `factor` times the second added to the first. */
export function addTime(first: WorkTime, second: WorkTime, factor = 1): Record<TimeBucket, number> {
  const sum = noTime();
  for (const bucket of TIME_BUCKETS) sum[bucket] = first[bucket] + factor * second[bucket];
  return sum;
}

/** All of it, seconds. */
export function totalSeconds(time: WorkTime): number {
  return TIME_BUCKETS.reduce((sum, bucket) => sum + time[bucket], 0);
}

/** The part of the time after the queue that was spent computing, communicating and evaluating; null without any. */
export function goodput(time: WorkTime): number | null {
  const total = totalSeconds(time) - time.queued;
  return total <= 0 ? null : PRODUCTIVE.reduce((sum, bucket) => sum + time[bucket], 0) / total;
}

/** Reads `goodput.json`, or the same in a message; undefined for what is none. */
export function parseRunGoodput(value: unknown): RunGoodput | undefined {
  if (!isJsonObject(value) || !isJsonObject(value.times)) return undefined;
  const { heldSeconds, atMs, open } = value.times;
  if (typeof heldSeconds !== 'number' || typeof atMs !== 'number') return undefined;
  const times: StoredWorkTimes = {
    spent: workTimeOf(value.times.spent),
    heldSeconds,
    atMs,
    open:
      isJsonObject(open) && typeof open.workers === 'number' && typeof open.bucket === 'string'
        ? { workers: open.workers, bucket: timeBucketOf(open.bucket), areHeld: open.areHeld === true }
        : null,
  };
  const numberOrNull = (each: unknown) => (typeof each === 'number' ? each : null);
  return {
    times,
    spent: workTimeOf(value.spent),
    goodput: numberOrNull(value.goodput),
    cost: numberOrNull(value.cost),
    secondsPerStep: numberOrNull(value.secondsPerStep),
  };
}

function workTimeOf(value: unknown): WorkTime {
  const seconds = isJsonObject(value) ? Object.entries(value) : [];
  return workTimeFromProto(seconds.map(([bucket, each]) => ({ bucket, seconds: typeof each === 'number' ? each : 0 })));
}

/** As its message: the buckets that are not empty. */
export function workTimeToProto(time: WorkTime): BucketSecondsMessage[] {
  return TIME_BUCKETS.flatMap((bucket) => (time[bucket] > 0 ? { bucket, seconds: time[bucket] } : []));
}

/** Buckets that this version does not know count as idle, so that nothing is lost. */
export function workTimeFromProto(buckets: readonly BucketSecondsMessage[]): WorkTime {
  const time = noTime();
  for (const { bucket, seconds } of buckets)
    if (Number.isFinite(seconds) && seconds > 0) time[timeBucketOf(bucket)] += seconds;
  return time;
}

/** The bucket of this name; `idle` for one that this version does not know. */
export function timeBucketOf(name: string): TimeBucket {
  return TIME_BUCKETS.find((each) => each === name) ?? 'idle';
}
