import { mkdir } from 'node:fs/promises';
import { type Clock, systemClock, WeftError } from '@weft/common';
import {
  type ClusterEvent,
  type ClusterState,
  type Decision,
  defaultSettings,
  initialCluster,
  isEnded,
  type RecoveryPolicy,
  type Settings,
} from '@weft/coordination';
import type { ProcessLock } from '@weft/store';
import type { CoordinatorMetrics, Logger } from '@weft/telemetry';
import { Attendance } from './attendance.js';
import { CoordinatorObserver } from './coordinator-observer.js';
import { DecisionQueue } from './decision-queue.js';
import { Effects } from './effects.js';
import { lockHome } from './lock-home.js';
import { replayRuns } from './replay-runs.js';
import { RunFiles } from './run-files.js';
import { RunRequests } from './run-requests.js';
import { Watchers } from './watchers.js';
import { WorkerStreams } from './worker-streams.js';

/** How often the coordinator looks at the clock. */
const TICK_MS = 200;
/** A worker beats this many times within the time after which it would be given up. */
const BEATS_PER_TIMEOUT = 5;

export interface CoordinatorOptions {
  /** The directory everything is kept in. */
  readonly home: string;
  /** What happens to the runs that were under way; default `auto`. */
  readonly recover?: RecoveryPolicy;
  readonly settings?: Partial<Settings>;
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
  /** For workers. */
  readonly attendance: Attendance;
  /** Resolves when it cannot go on, because its log cannot be written: end the process. */
  readonly failed: Promise<WeftError>;
  readonly #options: CoordinatorOptions;
  readonly #clock: Clock;
  readonly #lock: ProcessLock;
  readonly #queue: DecisionQueue;
  readonly #effects: Effects;
  readonly #observer: CoordinatorObserver;
  readonly #streams = new WorkerStreams();
  readonly #watchers = new Watchers();
  readonly #files = new Map<string, RunFiles>();
  readonly #closing = new AbortController();
  #fail: (error: WeftError) => void = () => {};

  /**
   * Takes the home, replays its runs and takes care of those that were under way.
   *
   * @throws `failed_precondition` when another coordinator has the home.
   */
  static async open(options: CoordinatorOptions): Promise<Coordinator> {
    const { home, log, recover = 'auto', clock = systemClock } = options;
    await mkdir(home, { recursive: true });
    const lock = await lockHome(home, clock);
    try {
      const settings = { ...defaultSettings, ...options.settings };
      const state = initialCluster(settings, await replayRuns(home, log));
      const coordinator = new Coordinator(options, lock, state);
      await coordinator.#queue.take({ kind: 'recovered', policy: recover });
      void coordinator.#tickOn();
      return coordinator;
    } catch (thrown) {
      await lock.release();
      throw thrown;
    }
  }

  private constructor(options: CoordinatorOptions, lock: ProcessLock, state: ClusterState) {
    const { log, metrics, clock = systemClock } = options;
    this.#options = options;
    this.#clock = clock;
    this.#lock = lock;
    this.failed = new Promise((resolve) => {
      this.#fail = resolve;
    });
    const filesOf = (runId: string) => this.#filesOf(runId);
    const dispatch = (event: ClusterEvent) => this.#dispatch(event);
    const append = (records: Decision['records']) => this.#append(records);
    const carryOut = (decision: Decision, event: ClusterEvent) => this.#carryOut(decision, event);
    const queue = new DecisionQueue({ clock, state, append, carryOut });
    const streams = this.#streams;
    const watchers = this.#watchers;
    this.#queue = queue;
    this.#observer = new CoordinatorObserver(log, metrics);
    this.#effects = new Effects({ streams, watchers, filesOf, dispatch, log });
    this.runs = new RunRequests({ queue, watchers, filesOf, clock, closing: this.#closing.signal });
    const heartbeatIntervalMs = Math.ceil(state.settings.heartbeatTimeoutMs / BEATS_PER_TIMEOUT);
    this.attendance = new Attendance({ queue, streams, dispatch, clock, heartbeatIntervalMs });
  }

  /** How long the attending worker that has been silent the longest has been so, seconds; 0 without workers. */
  oldestHeartbeatAge(): number {
    const lastSeenMs = [...this.#queue.state.workers.values()].map((worker) => worker.lastSeenMs);
    return lastSeenMs.length === 0 ? 0 : Math.max(0, (this.#clock.nowMs() - Math.min(...lastSeenMs)) / 1000);
  }

  /** Lets go of workers, watchers and files. Runs that are under way are found again by the next coordinator. */
  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort();
    this.#streams.closeAll(new WeftError('unavailable', 'the coordinator is shutting down'));
    this.#watchers.endAll();
    await this.#queue.inTurn(async () => {
      for (const files of this.#files.values()) await files.close();
    });
    await this.#lock.release();
  }

  #filesOf(runId: string): RunFiles {
    const files = this.#files.get(runId) ?? new RunFiles(this.#options.home, runId);
    this.#files.set(runId, files);
    return files;
  }

  /** For events that nobody waits for. After `close` the workers' going is not an event any more. */
  #dispatch(event: ClusterEvent): void {
    if (this.#closing.signal.aborted) return;
    this.#queue.take(event).catch((thrown: unknown) => {
      const error = WeftError.from(thrown);
      this.#options.log.error({ error, event: event.kind }, `${event.kind} could not be handled: ${error.sentence}`);
      if (!('workerId' in event) || event.kind === 'left') return;
      // A message that cannot be judged is its sender's fault; the others go on without it.
      this.#streams.close(event.workerId, error);
      this.#dispatch({ kind: 'left', workerId: event.workerId, reason: error.message });
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
    for (const runId of this.#watchers.runIds)
      this.#watchers.pushIfNew(runId, { body: { $case: 'summary', summary: this.runs.get(runId) } });
    for (const runId of new Set(decision.records.map((record) => record.runId))) {
      const phase = decision.state.runs.get(runId)?.durable.phase;
      if (phase === undefined || !isEnded(phase)) continue;
      this.#watchers.end(runId);
      await this.#filesOf(runId).close();
    }
  }

  async #tickOn(): Promise<void> {
    while (!this.#closing.signal.aborted) {
      this.#dispatch({ kind: 'tick' });
      await this.#clock.sleep(TICK_MS, this.#closing.signal).catch(() => {});
    }
  }
}
