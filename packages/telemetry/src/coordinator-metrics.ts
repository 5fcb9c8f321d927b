import { WEFT_VERSION } from '@weft/common';
import { Registry } from 'prom-client';
import { COORDINATOR_METRICS } from './metrics.js';
import { RunMetrics } from './run-metrics.js';
import { createSeries } from './series.js';

const RUN_STATUSES = ['queued', 'running', 'stopping', 'finished', 'stopped', 'failed'] as const;
type RunStatusLabel = (typeof RUN_STATUSES)[number];
const ROLES = ['rank', 'expertWorker'] as const;
type WorkerRole = (typeof ROLES)[number];
const JOB_STATES = ['waiting', 'delayed', 'paused', 'waitingForChildren', 'active'] as const;
type QueueJobState = (typeof JOB_STATES)[number];

/** What a coordinator reports to Prometheus. */
export class CoordinatorMetrics {
  readonly registry = new Registry();
  readonly #series = createSeries(this.registry, COORDINATOR_METRICS);
  /** The series of runs. */
  readonly runs = new RunMetrics(this.registry);

  constructor() {
    this.#series.build.set({ version: WEFT_VERSION, node_version: process.version }, 1);
    this.#series.leader.set(1);
    this.setRuns({});
    this.setWorkers([]);
    this.setQueue({ jobs: [], isPaused: false, oldestWaitSeconds: 0 });
    this.setStoreUp(true);
  }

  /** The number of runs in each status; a status left out has none. */
  setRuns(counts: Partial<Readonly<Record<RunStatusLabel, number>>>): void {
    for (const status of RUN_STATUSES) this.#series.runs.set({ status }, counts[status] ?? 0);
  }

  setWorkers(workers: readonly { readonly role: WorkerRole; readonly isBusy: boolean }[]): void {
    this.#series.workersConnected.set(workers.length);
    this.#series.workersBusy.set(workers.filter(({ isBusy }) => isBusy).length);
    for (const role of ROLES)
      for (const state of ['idle', 'busy'] as const) {
        const fitting = workers.filter((each) => each.role === role && each.isBusy === (state === 'busy'));
        this.#series.workers.set({ role, state }, fitting.length);
      }
  }

  /** @param queue the state of each job that has not ended */
  setQueue(queue: {
    readonly jobs: readonly QueueJobState[];
    readonly isPaused: boolean;
    readonly oldestWaitSeconds: number;
  }): void {
    for (const state of JOB_STATES)
      this.#series.queueJobs.set({ state }, queue.jobs.filter((each) => each === state).length);
    this.#series.queuePaused.set(queue.isPaused ? 1 : 0);
    this.#series.queueOldestWait.set(queue.oldestWaitSeconds);
  }

  setStoreUp(isUp: boolean): void {
    this.#series.storeUp.set(isUp ? 1 : 0);
  }

  /** Bytes of the file system that holds the home. */
  setDisk({ free, size }: { readonly free: number; readonly size: number }): void {
    this.#series.diskFree.set(free);
    this.#series.diskSize.set(size);
  }

  decided({ seconds }: { readonly seconds: number }): void {
    this.#series.decisionDuration.observe(seconds);
  }

  /** Seconds; 0 without workers. Call it just before a scrape (`serveMetrics({ onScrape })`). */
  setOldestHeartbeatAge(seconds: number): void {
    this.#series.oldestHeartbeatAge.set(seconds);
  }

  workerLost(): void {
    this.#series.workersLost.inc();
  }

  stepCommitted({ applied }: { readonly applied: boolean }): void {
    this.#series.stepsCommitted.inc();
    if (!applied) this.#series.stepsSkipped.inc();
  }

  generationChanged(): void {
    this.#series.generationChanges.inc();
  }

  checkpointWritten({ seconds, bytes }: { readonly seconds: number; readonly bytes: number }): void {
    this.#series.checkpointsWritten.inc();
    this.#series.checkpointDuration.observe(seconds);
    this.#series.checkpointSize.set(bytes);
  }

  eventAppended({ seconds }: { readonly seconds: number }): void {
    this.#series.eventAppendDuration.observe(seconds);
  }
}
