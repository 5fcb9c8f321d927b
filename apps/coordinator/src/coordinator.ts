import { randomUUID } from 'node:crypto';
import { type Clock, Random, systemClock, WeftError } from '@weft/common';
import { hasEnded } from '@weft/contracts';
import {
  type ClusterEvent,
  type ClusterState,
  type Decision,
  defaultTimeouts,
  initialCluster,
  type RecoveryPolicy,
  type Timeouts,
} from '@weft/coordination';
import type { Home } from '@weft/files';
import type { SweepSummary } from '@weft/proto';
import type { JobQueue, StoreHealth } from '@weft/store';
import type { CoordinatorMetrics, Logger } from '@weft/telemetry';
import { CoordinatorObserver } from './coordinator-observer.js';
import { DecisionQueue } from './decision-queue.js';
import { Effects } from './effects.js';
import { describeStoreHealth, type LeasedStore } from './leased-store.js';
import { queueListing, recoveredQueue } from './queue-jobs.js';
import { QueueRequests } from './queue-requests.js';
import { recoverSweeps } from './recover-sweeps.js';
import { RunFiles, replayRuns } from './run-files.js';
import { RunRequests } from './run-requests.js';
import { SweepDrivers } from './sweep-drivers.js';
import { SweepRequests } from './sweep-requests.js';
import { Watchers } from './watchers.js';
import { WorkerRegistry, WorkerStreams } from './worker-registry.js';

/** How often the coordinator submits a `tick`. */
const TICK_MS = 200;
/** How many heartbeats a worker sends within the heartbeat timeout. */
const HEARTBEATS_PER_TIMEOUT = 5;

/** Options of `Coordinator.open`. */
export interface CoordinatorOptions {
  /** Has the directories of runs. Their logs and the queue are in the store. */
  readonly home: Home;
  /** Must stay open as long as the coordinator; the caller closes it. */
  readonly leasedStore: LeasedStore;
  /** What happens to interrupted runs; default `auto`. */
  readonly recover?: RecoveryPolicy;
  readonly timeouts?: Partial<Timeouts>;
  readonly log: Logger;
  readonly metrics: CoordinatorMetrics;
  readonly clock?: Clock;
}

/**
 * A coordinator without its sockets. `decide` decides everything; this class turns streams and requests into events, writes
 * the records of each decision, and then executes its commands.
 */
export class Coordinator {
  /** The requests of `weft`. */
  readonly runs: RunRequests;
  readonly queue: QueueRequests;
  readonly sweeps: SweepRequests;
  readonly workers: WorkerRegistry;
  /** Resolves when it cannot go on, because its log cannot be written or its lease is lost. End the process then. */
  readonly failed: Promise<WeftError>;
  readonly #options: CoordinatorOptions;
  readonly #clock: Clock;
  readonly #jobs: JobQueue;
  readonly #decisions: DecisionQueue;
  readonly #effects: Effects;
  readonly #observer: CoordinatorObserver;
  readonly #streams = new WorkerStreams();
  readonly #watchers = new Watchers();
  readonly #files = new Map<string, RunFiles>();
  readonly #drivers: SweepDrivers;
  readonly #closing = new AbortController();
  #fail: (error: WeftError) => void = () => {};

  /** Replays the runs of the store, and recovers those that were interrupted. */
  static async open(options: CoordinatorOptions): Promise<Coordinator> {
    const { leasedStore, log, recover = 'auto' } = options;
    const { store, lease } = leasedStore;
    const timeouts = { ...defaultTimeouts, ...options.timeouts };
    const state = initialCluster(timeouts, await replayRuns(store, log));
    const queue = await store.openQueue(lease);
    const coordinator = new Coordinator(options, queue, state);
    const jobs = await queue.list();
    await coordinator.#decisions.submit({ ...recoveredQueue(jobs, await queue.isPaused()), policy: recover });
    await recoverSweeps(coordinator.#decisions, jobs, log);
    await coordinator.#drivers.startAll();
    void coordinator.#tickUntilClosed();
    void coordinator.#followQueue();
    return coordinator;
  }

  private constructor(options: CoordinatorOptions, jobs: JobQueue, state: ClusterState) {
    const { leasedStore, log, metrics, clock = systemClock } = options;
    const { store, lease } = leasedStore;
    this.#options = options;
    this.#clock = clock;
    this.#jobs = jobs;
    this.failed = new Promise((resolve) => {
      this.#fail = resolve;
    });
    void lease.lost.then((error) => this.#fail(error));
    const queue = new DecisionQueue({
      clock,
      state,
      append: (records) => this.#append(records),
      execute: (decision, event) => this.#execute(decision, event),
    });
    this.#decisions = queue;
    this.#observer = new CoordinatorObserver(log, metrics);
    const filesOf = (runId: string) => this.#filesOf(runId);
    const dispatch = (event: ClusterEvent) => this.#dispatch(event);
    const streams = this.#streams;
    const watchers = this.#watchers;
    this.#effects = new Effects({ streams, watchers, jobs, filesOf, dispatch, log });
    const random = Random.of('run ids', randomUUID());
    const runs = new RunRequests({ queue, watchers, filesOf, clock, random, store, closing: this.#closing.signal });
    const requireStore = () => runs.requireStore();
    const summaryOf = (runId: string) => runs.get(runId);
    this.runs = runs;
    this.queue = new QueueRequests({ queue, jobs, requireStore });
    const onLaunched = (sweep: SweepSummary) => this.#drivers.start(sweep);
    this.sweeps = new SweepRequests({ queue, jobs, clock, random, requireStore, summaryOf, onLaunched });
    const closing = this.#closing.signal;
    this.#drivers = new SweepDrivers({ sweeps: this.sweeps, queue, home: options.home, summaryOf, log, closing });
    const heartbeatIntervalMs = Math.ceil(state.timeouts.heartbeatTimeoutMs / HEARTBEATS_PER_TIMEOUT);
    this.workers = new WorkerRegistry({ queue, streams, dispatch, clock, heartbeatIntervalMs });
    const endWatch = store.watchHealth((health) => this.#storeChanged(health));
    this.#closing.signal.addEventListener('abort', endWatch, { once: true });
  }

  /** Seconds since the last heartbeat of the worker that has been silent the longest; 0 without workers. */
  oldestHeartbeatAge(): number {
    const lastHeartbeatMs = [...this.#decisions.state.workers.values()].map((worker) => worker.lastHeartbeatMs);
    return lastHeartbeatMs.length === 0 ? 0 : Math.max(0, (this.#clock.nowMs() - Math.min(...lastHeartbeatMs)) / 1000);
  }

  /** Closes streams, watchers and files. The next coordinator finds the active runs in the logs. */
  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort();
    this.#streams.closeAll(new WeftError('unavailable', 'the coordinator is shutting down'));
    this.#watchers.endAll();
    // The current decision would wait for a store that does not answer.
    if (!this.#options.leasedStore.store.health.isAvailable) return;
    await this.#decisions.runExclusive(async () => {
      for (const files of this.#files.values()) await files.close();
    });
  }

  #filesOf(runId: string): RunFiles {
    const files = this.#files.get(runId) ?? new RunFiles(this.#options.home, this.#options.leasedStore, runId);
    this.#files.set(runId, files);
    return files;
  }

  /** Submits an event without waiting for its decision. Ignored after `close`: workers that disconnect then are not lost. */
  #dispatch(event: ClusterEvent): void {
    if (this.#closing.signal.aborted) return;
    this.#decisions.submit(event).catch((thrown: unknown) => {
      const error = WeftError.from(thrown);
      this.#options.log.error({ error, event: event.kind }, `${event.kind} could not be handled: ${error.sentence}`);
      if (!('workerId' in event) || event.kind === 'workerDisconnected') return;
      // The sender of a message that cannot be handled is disconnected; the other workers go on without it.
      this.#streams.close(event.workerId, error);
      this.#dispatch({ kind: 'workerDisconnected', workerId: event.workerId, reason: error.message });
    });
  }

  async #append(records: Decision['records']): Promise<void> {
    const { log, metrics } = this.#options;
    try {
      for (const runId of new Set(records.map((record) => record.runId))) {
        const startMs = performance.now();
        const ofRun = records.flatMap((other) => (other.runId === runId ? other.record : []));
        const repaired = await this.#filesOf(runId).append(ofRun);
        if (repaired !== undefined) log.warn({ runId }, repaired);
        metrics.eventAppended({ seconds: (performance.now() - startMs) / 1000 });
      }
    } catch (thrown) {
      const error = WeftError.from(thrown);
      this.#fail(error);
      throw error;
    }
  }

  async #execute(decision: Decision, event: ClusterEvent): Promise<void> {
    this.#observer.observe(decision, event);
    for (const command of decision.commands) await this.#effects.execute(command);
    this.#updateWatchers();
    for (const runId of new Set(decision.records.map((record) => record.runId))) {
      const state = decision.state.runs.get(runId)?.state;
      if (state === undefined || !hasEnded(state)) continue;
      this.#watchers.end(runId);
      await this.#filesOf(runId).close();
    }
  }

  #updateWatchers(): void {
    for (const runId of this.#watchers.runIds)
      this.#watchers.pushIfNew(runId, { body: { $case: 'summary', summary: this.runs.get(runId) } });
  }

  /** While the store does not answer, the current decision waits for it, and all others behind it. */
  #storeChanged(health: StoreHealth): void {
    const { description } = this.#options.leasedStore.store;
    const notice = describeStoreHealth({ description, health });
    this.#watchers.pushToAll({ body: { $case: 'notice', notice } });
    this.#updateWatchers();
  }

  /** Reads the queue whenever it changes, also when a delayed job falls due. */
  async #followQueue(): Promise<void> {
    const { signal } = this.#closing;
    for await (const _ of this.#jobs.changes(signal)) {
      await this.#decisions
        .submitWith(() => queueListing(this.#jobs))
        .catch((thrown: unknown) => {
          const error = WeftError.from(thrown);
          if (!signal.aborted) this.#options.log.error({ error }, `the queue was not read: ${error.sentence}`);
        });
    }
  }

  /** One tick at a time. Otherwise ticks would pile up behind a slow decision. */
  async #tickUntilClosed(): Promise<void> {
    while (!this.#closing.signal.aborted) {
      this.#dispatch({ kind: 'tick' });
      await this.#decisions.runExclusive(async () => {});
      await this.#clock.sleep(TICK_MS, this.#closing.signal).catch(() => {});
    }
  }
}
