import { refuse } from '@weft/common';
import {
  type ClusterState,
  type ConnectedWorker,
  fitsAll,
  type LiveRun,
  type Lookups,
  type Role,
  type Run,
  type ShortageOf,
  type StepTimes,
  type Timeouts,
} from './cluster-state.js';
import type { Command } from './commands.js';
import type { MemberProgress } from './connected-worker.js';
import { QueueBuilder } from './queue-builder.js';
import type { RunRecord } from './records.js';
import { applyRecord, type RunState } from './run-state.js';
import type { VersionedMap } from './versioned-map.js';
import type { WorkerTable } from './worker-table.js';

/** A record without its time, which the builder adds. */
type NewRecord = RunRecord extends infer Record ? (Record extends RunRecord ? Omit<Record, 'time'> : never) : never;

/**
 * One decision in the making: the state as far as handlers have changed it, and the records and commands so far. It lives only
 * inside `decide`, which therefore stays pure. Nothing here takes longer because more workers are connected, but for `workers`.
 */
export class DecisionBuilder {
  readonly nowMs: number;
  readonly timeouts: Timeouts;
  readonly records: { runId: string; record: RunRecord }[] = [];
  readonly commands: Command[] = [];
  readonly queue: QueueBuilder;
  readonly shortageOf: ShortageOf;
  stepTimes: StepTimes;
  lastTickMs: number | undefined;
  lastProbeMs: number | undefined;
  timeoutsSinceMs: number;
  readonly #before: ClusterState;
  readonly #lastMessageMs: NonNullable<Lookups['lastMessageMs']>;
  readonly #silentBefore: NonNullable<Lookups['silentBefore']>;
  readonly #progressOf: NonNullable<Lookups['progressOf']>;
  #table: WorkerTable;
  #connectionCount: number;
  #runs: VersionedMap<string, Run>;
  /** A run changed in more than what its members have reported. */
  #runsChanged = false;

  constructor(nowMs: number, state: ClusterState, lookups: Lookups) {
    const { shortageOf = fitsAll, lastMessageMs = () => undefined, progressOf = () => undefined } = lookups;
    this.#silentBefore = lookups.silentBefore ?? (() => this.#table.values().map(({ workerId }) => workerId));
    this.nowMs = nowMs;
    this.#progressOf = progressOf;
    this.shortageOf = shortageOf;
    this.#before = state;
    this.#lastMessageMs = lastMessageMs;
    this.timeoutsSinceMs = state.timeoutsSinceMs;
    this.timeouts = state.timeouts;
    this.queue = new QueueBuilder(state.queue, (command) => this.command(command));
    this.stepTimes = state.stepTimes;
    this.lastTickMs = state.lastTickMs;
    this.lastProbeMs = state.lastProbeMs;
    this.#table = state.workers;
    this.#connectionCount = state.connectionCount;
    this.#runs = state.runs;
  }

  /** `nowMs` as ISO 8601. */
  get time(): string {
    return new Date(this.nowMs).toISOString();
  }

  /** The state as it is after the changes so far. */
  get state(): ClusterState {
    return {
      timeouts: this.timeouts,
      workers: this.#table,
      runs: this.#runs,
      queue: this.queue.state,
      stepTimes: this.stepTimes,
      connectionCount: this.#connectionCount,
      lastTickMs: this.lastTickMs,
      lastProbeMs: this.lastProbeMs,
      timeoutsSinceMs: this.timeoutsSinceMs,
    };
  }

  /** Whether anything changed but what members of runs that train have reported: then a ring may form. */
  get hasChanged(): boolean {
    return this.#runsChanged || this.#table !== this.#before.workers || this.queue.state !== this.#before.queue;
  }

  command(command: Command): void {
    this.commands.push(command);
  }

  /** Appends a record to the run's log. Nothing else changes `Run.state`. */
  record(runId: string, record: NewRecord): RunState {
    const stamped: RunRecord = { ...record, time: this.time };
    const run = this.#runs.get(runId);
    const state = applyRecord(run?.state, stamped);
    this.#runs = this.#runs.with(runId, { state, live: run?.live ?? { state: 'ended' } });
    this.#runsChanged = true;
    this.records.push({ runId, record: stamped });
    return state;
  }

  setLive(runId: string, live: LiveRun): void {
    const before = this.run(runId);
    this.#runs = this.#runs.with(runId, { state: before.state, live });
    if (before.live.state !== 'training' || live.state !== 'training') this.#runsChanged = true;
  }

  get runIds(): readonly string[] {
    return [...this.#runs.keys()];
  }

  findRun(runId: string): Run | undefined {
    return this.#runs.get(runId);
  }

  /** @throws WeftError `not_found`. */
  run(runId: string): Run {
    const run = this.findRun(runId);
    if (run === undefined)
      refuse('not_found', `there is no run ${JSON.stringify(runId)}`, 'list the runs with `weft ls`');
    return run;
  }

  /** The connected workers. */
  get workers(): WorkerTable {
    return this.#table;
  }

  worker(workerId: string): ConnectedWorker | undefined {
    return this.#table.get(workerId);
  }

  addWorker(worker: Omit<ConnectedWorker, 'order' | 'connectedMs'>): void {
    this.#table = this.#table.with({ ...worker, order: this.#connectionCount++, connectedMs: this.nowMs });
  }

  changeWorker(workerId: string, change: Partial<ConnectedWorker>): void {
    const worker = this.#table.get(workerId);
    if (worker !== undefined) this.#table = this.#table.with({ ...worker, ...change });
  }

  removeWorker(workerId: string): void {
    this.#table = this.#table.without(workerId);
  }

  /** The workers that have sent nothing for so long, and since when. The time before the clock jumped does not count. */
  silentFor(durationMs: number): readonly { readonly worker: ConnectedWorker; readonly heardMs: number }[] {
    const { nowMs, timeoutsSinceMs } = this;
    return [...this.#silentBefore(nowMs - durationMs)].flatMap((workerId) => {
      const worker = this.#table.get(workerId);
      if (worker === undefined) return [];
      const lastMs = this.heardMs(worker);
      // What was heard later than now was heard before the clock was set back: by little, moments ago; otherwise a tick has
      // told, and every timeout began again.
      const isFarAhead = lastMs - nowMs > durationMs;
      const heardMs = isFarAhead ? timeoutsSinceMs : Math.max(timeoutsSinceMs, Math.min(lastMs, nowMs));
      return nowMs - heardMs > durationMs ? [{ worker, heardMs }] : [];
    });
  }

  /** When a worker sent its last message of any kind, its hello included. */
  heardMs({ workerId, connectedMs }: ConnectedWorker): number {
    return this.#lastMessageMs(workerId) ?? connectedMs;
  }

  /** Where a worker was in its run when it last told; undefined: it has not. */
  progressOf(workerId: string): MemberProgress | undefined {
    return this.#progressOf(workerId);
  }

  /** The idle workers of a role, in the order they connected. */
  idle(role: Role): readonly ConnectedWorker[] {
    return this.#table.group(`idle/${role}`);
  }

  /** The workers that will join a run under way, in the order they connected. */
  joining(runId: string): readonly ConnectedWorker[] {
    return this.#table.group(`joining/${runId}`);
  }

  /** The connected members of a run, of one role or of both, in the order they connected. */
  membersOf(runId: string, role?: Role): readonly ConnectedWorker[] {
    return this.#table.group(role === undefined ? `members/${runId}` : `members/${runId}/${role}`);
  }
}
