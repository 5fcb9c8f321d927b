import type { RunConfig } from '@weft/config';
import {
  type ClusterState,
  connectedWorkers,
  idleWorkers,
  type Run,
  type StepTimes,
  type StepTiming,
  type Training,
} from './cluster-state.js';
import { findPreemptions } from './preemption.js';
import type { QueuedJob } from './queue-state.js';
import type { RunState } from './run-state.js';
import { lastStepOfGeneration } from './run-termination.js';
import { unfinishedBefore, type WaitingRun, waitingRuns } from './scheduling.js';

/** A forecast of the queue: which run is next, and when. */
export interface QueueForecast {
  /** The jobs of runs that have not ended, by runId. */
  readonly jobs: ReadonlyMap<string, QueuedJob>;
  /** Positions in the queue by runId, from 1. Paused and delayed runs have none. */
  readonly positions: ReadonlyMap<string, number>;
  /** By runId, milliseconds since the epoch. Only for runs with nothing of unknown duration before them. */
  readonly expectedStartMs: ReadonlyMap<string, number>;
  /** Active runs that leave their workers at their next checkpoint, and the run that gets them. */
  readonly preemptions: ReadonlyMap<string, string>;
}

const forecasts = new WeakMap<ClusterState, QueueForecast>();

/** The forecast of a state, computed once. */
export function forecastQueue(cluster: ClusterState): QueueForecast {
  const known = forecasts.get(cluster);
  if (known !== undefined) return known;
  const nowMs = cluster.lastTickMs ?? 0;
  const waiting = waitingRuns(cluster, nowMs);
  const numbered = waiting.filter(
    ({ job, state }) => job.state === 'waiting' && unfinishedBefore(cluster, state).length === 0,
  );
  const preemptions = findPreemptions(cluster, nowMs);
  const forecast: QueueForecast = {
    jobs: new Map(cluster.queue.jobs.map((job) => [job.runId, job])),
    positions: new Map(numbered.map(({ state }, index) => [state.runId, index + 1])),
    expectedStartMs: expectedStarts(cluster, waiting, preemptions, nowMs),
    preemptions,
  };
  forecasts.set(cluster, forecast);
  return forecast;
}

/** Plays the queue forward, run after run, until the duration of one is not known. */
function expectedStarts(
  cluster: ClusterState,
  waiting: readonly WaitingRun[],
  preemptions: QueueForecast['preemptions'],
  nowMs: number,
): QueueForecast['expectedStartMs'] {
  const starts = new Map<string, number>();
  const releases = releaseTimes(cluster, preemptions, nowMs);
  const connected = connectedWorkers(cluster);
  let { workers: free, expertWorkers: freeExperts } = idleWorkers(cluster);
  let clockMs = nowMs;
  for (const { state, required, isDue } of waiting) {
    const { workers } = required;
    if (!isDue || workers > connected.workers || required.expertWorkers > connected.expertWorkers) continue;
    // When others give their expert workers back is not counted.
    if (required.expertWorkers > freeExperts) return starts;
    freeExperts -= required.expertWorkers;
    while (free < workers) {
      const next = releases.shift();
      if (next === undefined) return starts;
      clockMs = Math.max(clockMs, next.atMs);
      free += next.workers;
    }
    free -= workers;
    starts.set(state.runId, clockMs);
    const stepMs = msPerStep(cluster.stepTimes, state.config, workers);
    if (stepMs !== undefined) insert(releases, { atMs: clockMs + (state.config.steps - state.step) * stepMs, workers });
  }
  return starts;
}

/** When a run releases its workers, and how many. */
interface ReleaseTime {
  readonly atMs: number;
  readonly workers: number;
}

/** When the active runs release their workers, soonest first; without those for which it is unknown. */
function releaseTimes(cluster: ClusterState, preemptions: QueueForecast['preemptions'], nowMs: number): ReleaseTime[] {
  const releases: ReleaseTime[] = [];
  for (const job of cluster.queue.jobs) {
    const run = job.state === 'active' ? cluster.runs.get(job.runId) : undefined;
    if (run?.live.state !== 'training') continue;
    const { state, live } = run;
    const stepMs = msPerStep(cluster.stepTimes, state.config, live.members.length);
    if (stepMs === undefined) continue;
    const steps = releaseStep(run, live, preemptions) - state.step;
    const sinceMs = live.timing?.lastMs ?? nowMs;
    insert(releases, { atMs: Math.max(nowMs, sinceMs + steps * stepMs), workers: live.members.length });
  }
  return releases;
}

function releaseStep({ state }: Run, live: Training, preemptions: QueueForecast['preemptions']): number {
  return preemptions.has(state.runId) ? nextCheckpointStep(state) : lastStepOfGeneration(state, live);
}

function insert(releases: ReleaseTime[], release: ReleaseTime): void {
  const index = releases.findIndex(({ atMs }) => atMs > release.atMs);
  releases.splice(index < 0 ? releases.length : index, 0, release);
}

/** The step after which every rank saves next, counted from the last committed one. */
export function nextCheckpointStep({ step, config: { checkpoint, steps } }: RunState): number {
  return Math.min(steps, (Math.floor(step / checkpoint.everySteps) + 1) * checkpoint.everySteps);
}

/** The timing of a generation after one more committed step. */
export function extendTiming(timing: StepTiming | undefined, step: number, nowMs: number): StepTiming {
  return { firstStep: timing?.firstStep ?? step, firstMs: timing?.firstMs ?? nowMs, lastStep: step, lastMs: nowMs };
}

/** How many step times are kept; the oldest are dropped. */
const MAX_STEP_TIMES = 200;

/** The step times, updated with the timing of a generation. Its first step does not count. */
export function learnStepTime(
  stepTimes: StepTimes,
  config: RunConfig,
  worldSize: number,
  timing: StepTiming,
): StepTimes {
  const steps = timing.lastStep - timing.firstStep;
  if (steps === 0) return stepTimes;
  const learned = new Map(stepTimes);
  const key = workKey(config, worldSize);
  // Deleted first, so that the entry moves to the end of the map.
  learned.delete(key);
  learned.set(key, (timing.lastMs - timing.firstMs) / steps);
  for (const oldest of learned.keys()) if (learned.size > MAX_STEP_TIMES) learned.delete(oldest);
  return learned;
}

/** Undefined until a run with the same work per step has committed two steps on this many workers. */
function msPerStep(stepTimes: StepTimes, config: RunConfig, worldSize: number): number | undefined {
  return stepTimes.get(workKey(config, worldSize));
}

const works = new WeakMap<RunConfig, string>();

/** Names everything that determines how long a step takes. */
function workKey(config: RunConfig, worldSize: number): string {
  const { model, precision, engine, globalBatchSize, microbatchSize } = config;
  const work = works.get(config) ?? JSON.stringify({ model, precision, engine, globalBatchSize, microbatchSize });
  works.set(config, work);
  return `${worldSize} × ${work}`;
}
