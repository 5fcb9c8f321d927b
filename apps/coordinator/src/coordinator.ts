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
import type { JobQueue, StoreHealth } from '@weft/store';
import type { CoordinatorMetrics, Logger } from '@weft/telemetry';
import { Attendance } from './attendance.js';
import { CoordinatorObserver } from './coordinator-observer.js';
import { DecisionQueue } from './decision-queue.js';
import { Effects } from './effects.js';
import type { HeldStore } from './hold-store.js';
import { launchMissing } from './launch-missing.js';
import { foundQueue, listedEvent } from './queue-jobs.js';
import { QueueRequests } from './queue-requests.js';
import { RunFiles } from './run-files.js';
import { replayRuns } from './run-logs.js';
import { RunRequests } from './run-requests.js';
import { storeNotice } from './store-trouble.js';
import { SweepRequests } from './sweep-requests.js';
import { Watchers } from './watchers.js';
import { WorkerStreams } from './worker-streams.js';

/** How often the coordinator looks at the clock. */
const TICK_MS = 200;
/** A worker beats this many times within the time after which it would be given up. */
const BEATS_PER_TIMEOUT = 5;

export interface CoordinatorOptions {
  /** The directory runs are kept in; their logs and the queue are in the store. */
  readonly home: string;
  /** Held as long as the coordinator lives; whoever opened it closes it. */
  readonly keeper: HeldStore;
  /** What happens to the runs that were under way; default `auto`. */
  readonly recover?: RecoveryPolicy;
  readonly settings?: Partial<Timeouts>;
  readonly log: Logger;
  readonly metrics: CoordinatorMetrics;
  readonly clock?: Clock;
}

/**
 * A coordinator without its sockets: streams and requests in, messages and answers out. Every judgement is `decide`'s;
 * around it, this class writes the records down, then acts.
 */
export class Coordinator {
  /** For people. */
  readonly runs: RunRequests;
  readonly queue: QueueRequests;
  readonly sweeps: SweepRequests;
  /** For workers. */
  readonly attendance: Attendance;
  /** Resolves when it cannot go on, because its log cannot be written or another has its lease: end the process. */
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
  readonly #closing = new AbortController();
  #fail: (error: WeftError) => void = () => {};

  /** Replays the runs of the store and takes care of those that were under way. */
  static async open(options: CoordinatorOptions): Promise<Coordinator> {
    const { keeper, log, recover = 'auto' } = options;
    const { store, held } = keeper;
    const settings = { ...defaultTimeouts, ...options.settings };
    const state = initialCluster(settings, await replayRuns(store, log));
    const queue = await store.openQueue(held);
    const coordinator = new Coordinator(options, queue, state);
    const jobs = await queue.list();
    await coordinator.#decisions.take({ ...foundQueue(jobs, await queue.isPaused()), policy: recover });
    await launchMissing(coordinator.#decisions, jobs, log);
    void coordinator.#tickOn();
    void coordinator.#followQueue();
    return coordinator;
  }

  private constructor(options: CoordinatorOptions, jobs: JobQueue, state: ClusterState) {
    const { keeper, log, metrics, clock = systemClock } = options;
    const { store } = keeper;
    this.#options = options;
    this.#clock = clock;
    this.#jobs = jobs;
    this.failed = new Promise((resolve) => {
      this.#fail = resolve;
    });
    const filesOf = (runId: string) => this.#filesOf(runId);
    const dispatch = (event: ClusterEvent) => this.#dispatch(event);
    const append = (records: Decision['records']) => this.#append(records);
    const carryOut = (decision: Decision, event: ClusterEvent) => this.#carryOut(decision, event);
    void keeper.held.lost.then((error) => this.#fail(error));
    const queue = new DecisionQueue({ clock, state, append, carryOut });
    const streams = this.#streams;
    const watchers = this.#watchers;
    this.#decisions = queue;
    this.#observer = new CoordinatorObserver(log, metrics);
    this.#effects = new Effects({ streams, watchers, jobs, filesOf, dispatch, log });
    const random = Random.of('run ids', randomUUID());
    const runs = new RunRequests({ queue, watchers, filesOf, clock, random, store, closing: this.#closing.signal });
    const requireStore = () => runs.requireStore();
    const summaryOf = (runId: string) => runs.get(runId);
    this.runs = runs;
    this.queue = new QueueRequests({ queue, jobs, requireStore });
    this.sweeps = new SweepRequests({ queue, jobs, clock, random, requireStore, summaryOf });
    const endWatch = store.watchHealth((health) => this.#storeChanged(health));
    this.#closing.signal.addEventListener('abort', endWatch, { once: true });
    const heartbeatIntervalMs = Math.ceil(state.timeouts.heartbeatTimeoutMs / BEATS_PER_TIMEOUT);
    this.attendance = new Attendance({ queue, streams, dispatch, clock, heartbeatIntervalMs });
  }

  /** How long the attending worker that has been silent the longest has been so, seconds; 0 without workers. */
  oldestHeartbeatAge(): number {
    const lastSeenMs = [...this.#decisions.state.workers.values()].map((worker) => worker.lastHeartbeatMs);
    return lastSeenMs.length === 0 ? 0 : Math.max(0, (this.#clock.nowMs() - Math.min(...lastSeenMs)) / 1000);
  }

  /** Lets go of workers, watchers and files. Runs that are under way are found again by the next coordinator. */
  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort();
    this.#streams.closeAll(new WeftError('unavailable', 'the coordinator is shutting down'));
    this.#watchers.endAll();
    // The decision in hand would wait for a store that is away.
    if (!this.#options.keeper.store.health.answers) return;
    await this.#decisions.inTurn(async () => {
      for (const files of this.#files.values()) await files.close();
    });
  }

  #filesOf(runId: string): RunFiles {
    const files = this.#files.get(runId) ?? new RunFiles(this.#options.home, this.#options.keeper, runId);
    this.#files.set(runId, files);
    return files;
  }

  /** For events that nobody waits for. After `close` the workers' going is not an event any more. */
  #dispatch(event: ClusterEvent): void {
    if (this.#closing.signal.aborted) return;
    this.#decisions.take(event).catch((thrown: unknown) => {
      const error = WeftError.from(thrown);
      this.#options.log.error({ error, event: event.kind }, `${event.kind} could not be handled: ${error.sentence}`);
      if (!('workerId' in event) || event.kind === 'workerDisconnected') return;
      // A message that cannot be judged is its sender's fault; the others go on without it.
      this.#streams.close(event.workerId, error);
      this.#dispatch({ kind: 'workerDisconnected', workerId: event.workerId, reason: error.message });
    });
  }

  async #append(records: Decision['records']): Promise<void> {
    const { log, metrics } = this.#options;
    try {
      for (const runId of new Set(records.map((record) => record.runId))) {
        const beganMs = performance.now();
        const ofRun = records.flatMap((other) => (other.runId === runId ? other.record : []));
        const repaired = await this.#filesOf(runId).append(ofRun);
        if (repaired !== undefined) log.warn({ runId }, repaired);
        metrics.eventAppended({ seconds: (performance.now() - beganMs) / 1000 });
      }
    } catch (thrown) {
      const error = WeftError.from(thrown);
      this.#fail(error);
      throw error;
    }
  }

  async #carryOut(decision: Decision, event: ClusterEvent): Promise<void> {
    this.#observer.observe(decision, event);
    for (const command of decision.commands) await this.#effects.carryOut(command);
    this.#tellWatchers();
    for (const runId of new Set(decision.records.map((record) => record.runId))) {
      const state = decision.state.runs.get(runId)?.state;
      if (state === undefined || !hasEnded(state)) continue;
      this.#watchers.end(runId);
      await this.#filesOf(runId).close();
    }
  }

  #tellWatchers(): void {
    for (const runId of this.#watchers.runIds)
      this.#watchers.pushIfNew(runId, { body: { $case: 'summary', summary: this.runs.get(runId) } });
  }

  /** While the store is away the decision in hand waits for it, and all others behind that one. */
  #storeChanged(health: StoreHealth): void {
    const { description } = this.#options.keeper.store;
    const notice = storeNotice({ description, health });
    this.#watchers.pushToAll({ body: { $case: 'notice', notice } });
    this.#tellWatchers();
  }

  /** The queue changes by itself when a time comes. */
  async #followQueue(): Promise<void> {
    const { signal } = this.#closing;
    for await (const _ of this.#jobs.changes(signal))
      await this.#decisions.takeMade(() => listedEvent(this.#jobs)).catch((thrown: unknown) => this.#unlisted(thrown));
  }

  #unlisted(thrown: unknown): void {
    const error = WeftError.from(thrown);
    if (!this.#closing.signal.aborted) this.#options.log.error({ error }, `the queue was not read: ${error.sentence}`);
  }

  /** One tick at a time: those that a decision kept waiting would all say the same. */
  async #tickOn(): Promise<void> {
    while (!this.#closing.signal.aborted) {
      this.#dispatch({ kind: 'tick' });
      await this.#decisions.inTurn(async () => {});
      await this.#clock.sleep(TICK_MS, this.#closing.signal).catch(() => {});
    }
  }
}
