import { randomUUID } from 'node:crypto';
import { statfs } from 'node:fs/promises';
import { type Clock, Random, systemClock, WeftError } from '@weft/common';
import { hasEnded, type RunGoodput, type RunRanks } from '@weft/contracts';
import {
  type ClusterEvent,
  type ClusterState,
  type ConnectedWorker,
  type Decision,
  defaultTimeouts,
  initialCluster,
  type RecoveryPolicy,
  type Timeouts,
} from '@weft/coordination';
import type { Home } from '@weft/files';
import type { SweepSummary } from '@weft/proto';
import type { JobQueue, Store, StoreHealth } from '@weft/store';
import type { CoordinatorMetrics, Logger } from '@weft/telemetry';
import { CoordinatorObserver, isRoutine } from './coordinator-observer.js';
import { DecisionQueue } from './decision-queue.js';
import { Effects } from './effects.js';
import { describeStoreHealth, type LeasedStore } from './leased-store.js';
import { Profiles } from './profiles.js';
import { queueListing, recoveredQueue } from './queue-jobs.js';
import { QueueRequests } from './queue-requests.js';
import { RankTimes } from './rank-times.js';
import { recoverSweeps } from './recover-sweeps.js';
import { RunFiles, replayRuns } from './run-files.js';
import { RunMonitor } from './run-monitor.js';
import { RunRequests } from './run-requests.js';
import { scrapeTargets, TargetsFile } from './scrape-targets.js';
import { SweepDrivers } from './sweep-drivers.js';
import { SweepRequests } from './sweep-requests.js';
import { Utilization } from './utilization.js';
import { Watchers } from './watchers.js';
import { WorkerRegistry, type WorkerRegistryOptions, WorkerStreams } from './worker-registry.js';

/** How often the coordinator submits a `tick`. */
const TICK_MS = 100;
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
  /** What an hour of a worker costs; default: not known. */
  readonly pricePerWorkerHour?: number;
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
  readonly profiles: Profiles;
  /** Resolves when it cannot go on, because its log cannot be written or its lease is lost. End the process then. */
  readonly failed: Promise<WeftError>;
  readonly #options: CoordinatorOptions;
  readonly #clock: Clock;
  readonly #jobs: JobQueue;
  readonly #decisions: DecisionQueue;
  readonly #effects: Effects;
  readonly #utilization = new Utilization();
  readonly #observer: CoordinatorObserver;
  readonly #monitor: RunMonitor;
  readonly #rankTimes = new RankTimes();
  readonly #targets: TargetsFile;
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
    const runs = await replayRuns(store, options.home, log);
    const state = initialCluster(timeouts, runs);
    const queue = await store.openQueue(lease);
    const coordinator = new Coordinator(options, queue, state);
    const jobs = await queue.list();
    await coordinator.#monitor.restore(runs);
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
      lookups: {
        lastMessageMs: (workerId) => this.#streams.lastMessageMs(workerId),
        silentBefore: (timeMs) => this.#streams.silentBefore(timeMs, clock.nowMs()),
        progressOf: (workerId) => this.#streams.progressOf(workerId),
      },
      append: (records) => this.#append(records),
      execute: (decision, event) => this.#execute(decision, event),
      onDecided: (seconds) => metrics.decided({ seconds }),
    });
    this.#decisions = queue;
    this.#observer = new CoordinatorObserver(log, metrics);
    this.#targets = new TargetsFile(options.home, log);
    const filesOf = (runId: string) => this.#filesOf(runId);
    const { pricePerWorkerHour } = options;
    this.#monitor = new RunMonitor({ metrics: metrics.runs, clock, filesOf, pricePerWorkerHour });
    const dispatch = (event: ClusterEvent) => this.#dispatch(event);
    const streams = this.#streams;
    const watchers = this.#watchers;
    this.#effects = new Effects({ streams, watchers, jobs, filesOf, dispatch, log });
    this.profiles = new Profiles({ stateOf: () => queue.state, send: (...to) => streams.send(...to) });
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
    const reportTime: WorkerRegistryOptions['reportTime'] = (...report) => this.#monitor.reportTime(...report);
    const { profiles } = this;
    this.workers = new WorkerRegistry({ queue, streams, dispatch, reportTime, profiles, clock, heartbeatIntervalMs });
    const endWatch = store.watchHealth((health) => this.#storeChanged(health));
    this.#closing.signal.addEventListener('abort', endWatch, { once: true });
  }

  /** Brings the metrics to now. Call it just before a scrape. */
  async updateMetrics(): Promise<void> {
    const { home, leasedStore, metrics } = this.#options;
    const { state } = this.#decisions;
    const workers = state.workers.values();
    metrics.setOldestHeartbeatAge(Math.max(0, ...workers.map((worker) => this.silentSeconds(worker))));
    metrics.setWorkers(workers.map(({ role, runId }) => ({ role, isBusy: runId !== undefined })));
    this.#monitor.updateMetrics(state);
    const jobs = state.queue.jobs.map((job) => job.state);
    const oldestWaitSeconds = this.#monitor.oldestWaitSeconds();
    metrics.setQueue({ jobs, isPaused: state.queue.isPaused, oldestWaitSeconds });
    metrics.setStoreUp(leasedStore.store.health.isAvailable);
    const disk = await statfs(home.directory).catch(() => undefined);
    if (disk !== undefined) metrics.setDisk({ free: disk.bavail * disk.bsize, size: disk.blocks * disk.bsize });
  }

  /** Where the workers' metrics are, for service discovery over HTTP. */
  scrapeTargets(): ReturnType<typeof scrapeTargets> {
    return scrapeTargets(this.#decisions.state);
  }

  /** Where the time of a run went; undefined for a run that this was never measured of. */
  goodputOf(runId: string): Promise<RunGoodput | undefined> {
    return this.#monitor.goodputOf(runId);
  }

  /** Brings the columns of a run's curves up to its last row, in the background. Does nothing for a run that is not known. */
  saveCurves(runId: string): void {
    if (this.#decisions.state.runs.has(runId)) void this.#filesOf(runId).saveCurves();
  }

  /** Who trains a run now, and what the ranks spent their last steps on. */
  ranksOf(runId: string): RunRanks {
    return this.#rankTimes.of(this.#decisions.state, runId, (worker) => this.silentSeconds(worker));
  }

  /** As of the last decision. */
  get state(): ClusterState {
    return this.#decisions.state;
  }

  /** Has the logs of the runs. */
  get store(): Store {
    return this.#options.leasedStore.store;
  }

  /** Milliseconds since the Unix epoch, by the clock of all decisions. */
  nowMs(): number {
    return this.#clock.nowMs();
  }

  /** Since the last message of a worker. */
  silentSeconds({ workerId, connectedMs }: ConnectedWorker): number {
    return Math.max(0, (this.#clock.nowMs() - (this.#streams.lastMessageMs(workerId) ?? connectedMs)) / 1000);
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
      await this.#monitor.save();
      await this.#targets.close();
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

  async #execute(decided: Decision, event: ClusterEvent): Promise<void> {
    const decision = await this.#utilization.addTo(decided);
    this.#observer.observe(decision, event);
    this.#rankTimes.observe(decision, event);
    this.profiles.observe(decision, event);
    const routine = isRoutine(event, decision.records);
    await this.#monitor.observe(decision, event, routine);
    if (event.kind === 'tick') this.#targets.update(decision.state);
    for (const command of decision.commands) await this.#effects.execute(command);
    // What a member reports changes nothing that a summary says.
    if (!routine || event.kind === 'tick' || decision.records.length > 0) this.#updateWatchers();
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
