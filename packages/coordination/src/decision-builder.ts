import { refuse } from '@weft/common';
import {
  type ClusterState,
  type ConnectedWorker,
  fitsAll,
  type LiveRun,
  onlyIdle,
  type Role,
  type Run,
  type ShortageOf,
  type StepTimes,
  type Timeouts,
} from './cluster-state.js';
import type { Command } from './commands.js';
import { QueueBuilder } from './queue-builder.js';
import type { RunRecord } from './records.js';
import { applyRecord, type RunState } from './run-state.js';

/** A record without its time, which the builder adds. */
type NewRecord = RunRecord extends infer Record ? (Record extends RunRecord ? Omit<Record, 'time'> : never) : never;

/**
 * One decision in the making: a copy of the state that handlers may change, and the records and commands so far. It
 * lives only inside `decide`, which therefore stays pure.
 */
export class DecisionBuilder {
  readonly nowMs: number;
  /** `nowMs` as ISO 8601. */
  readonly time: string;
  readonly timeouts: Timeouts;
  readonly records: { runId: string; record: RunRecord }[] = [];
  readonly commands: Command[] = [];
  readonly queue: QueueBuilder;
  readonly shortageOf: ShortageOf;
  stepTimes: StepTimes;
  lastTickMs: number | undefined;
  lastProbeMs: number | undefined;
  readonly #workers: Map<string, ConnectedWorker>;
  #connectionCount: number;
  /** Copied when the first of them changes: there may be thousands, and most events change none. */
  #runs: ReadonlyMap<string, Run>;
  #changedRuns: Map<string, Run> | undefined;

  constructor(nowMs: number, state: ClusterState, shortageOf: ShortageOf = fitsAll) {
    this.nowMs = nowMs;
    this.shortageOf = shortageOf;
    this.time = new Date(nowMs).toISOString();
    this.timeouts = state.timeouts;
    this.queue = new QueueBuilder(state.queue, (command) => this.command(command));
    this.stepTimes = state.stepTimes;
    this.lastTickMs = state.lastTickMs;
    this.lastProbeMs = state.lastProbeMs;
    this.#workers = new Map(state.workers);
    this.#connectionCount = state.connectionCount;
    this.#runs = state.runs;
  }

  /** The state as it is after the changes so far. */
  get state(): ClusterState {
    return {
      timeouts: this.timeouts,
      workers: this.#workers,
      runs: this.#runs,
      queue: this.queue.state,
      stepTimes: this.stepTimes,
      connectionCount: this.#connectionCount,
      lastTickMs: this.lastTickMs,
      lastProbeMs: this.lastProbeMs,
    };
  }

  command(command: Command): void {
    this.commands.push(command);
  }

  /** Appends a record to the run's log. Nothing else changes `Run.state`. */
  record(runId: string, record: NewRecord): RunState {
    const stamped: RunRecord = { ...record, time: this.time };
    const run = this.#runs.get(runId);
    const state = applyRecord(run?.state, stamped);
    this.#setRun(runId, { state, live: run?.live ?? { state: 'ended' } });
    this.records.push({ runId, record: stamped });
    return state;
  }

  setLive(runId: string, live: LiveRun): void {
    this.#setRun(runId, { state: this.run(runId).state, live });
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

  get workers(): readonly ConnectedWorker[] {
    return [...this.#workers.values()];
  }

  worker(workerId: string): ConnectedWorker | undefined {
    return this.#workers.get(workerId);
  }

  addWorker(worker: Omit<ConnectedWorker, 'order'>): void {
    this.#workers.set(worker.workerId, { ...worker, order: this.#connectionCount++ });
  }

  changeWorker(workerId: string, change: Partial<ConnectedWorker>): void {
    const worker = this.#workers.get(workerId);
    if (worker !== undefined) this.#workers.set(workerId, { ...worker, ...change });
  }

  removeWorker(workerId: string): void {
    this.#workers.delete(workerId);
  }

  /** The idle workers of a role, in the order they connected. */
  idle(role: Role): readonly ConnectedWorker[] {
    const idle = onlyIdle(this.workers.filter((worker) => worker.role === role));
    return idle.toSorted((a, b) => a.order - b.order);
  }

  /** The workers that will join a run under way, in the order they connected. */
  joining(runId: string): readonly ConnectedWorker[] {
    return this.workers.filter(({ joining }) => joining?.runId === runId).toSorted((a, b) => a.order - b.order);
  }

  /** The connected members of a run, of one role or of both. */
  membersOf(runId: string, role?: Role): readonly ConnectedWorker[] {
    return this.workers.filter((worker) => worker.runId === runId && (role ?? worker.role) === worker.role);
  }

  #setRun(runId: string, run: Run): void {
    this.#changedRuns ??= new Map(this.#runs);
    this.#runs = this.#changedRuns.set(runId, run);
  }
}
