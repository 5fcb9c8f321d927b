import { WeftError } from '@weft/common';
import type { Attendee, ClusterState, LiveRun, Run, Settings } from './cluster-state.js';
import type { Command } from './commands.js';
import { DraftQueue } from './draft-queue.js';
import type { Paces } from './pace.js';
import type { RunRecord } from './records.js';
import type { Role } from './roles.js';
import { evolve, type RunState } from './run-state.js';

/** A record without the time, which the draft adds. */
export type NewRecord = RunRecord extends infer Record
  ? Record extends RunRecord
    ? Omit<Record, 'time'>
    : never
  : never;

/** A run that the draft may change. */
export interface DraftRun {
  readonly state: RunState;
  readonly live: LiveRun;
}

/**
 * One decision in the making: a copy of the state, and the records and commands so far. Lives only inside `decide`,
 * so `decide` stays pure.
 */
export class Draft {
  readonly nowMs: number;
  /** When it is, ISO 8601. */
  readonly time: string;
  readonly settings: Settings;
  readonly records: { runId: string; record: RunRecord }[] = [];
  readonly commands: Command[] = [];
  readonly queue: DraftQueue;
  readonly #workers: Map<string, Attendee>;
  /** Copied when the first of them changes: there may be thousands, and most events are about none. */
  #runs: ReadonlyMap<string, Run>;
  #ownRuns: Map<string, Run> | undefined;
  #attended: number;
  paces: Paces;
  lastTickMs: number | undefined;

  constructor(nowMs: number, state: ClusterState) {
    this.nowMs = nowMs;
    this.time = new Date(nowMs).toISOString();
    this.settings = state.settings;
    this.#workers = new Map(state.workers);
    this.#runs = state.runs;
    this.queue = new DraftQueue(state.queue, (command) => this.command(command));
    this.#attended = state.attended;
    this.paces = state.paces;
    this.lastTickMs = state.lastTickMs;
  }

  get state(): ClusterState {
    return {
      settings: this.settings,
      workers: this.#workers,
      runs: this.#runs,
      queue: this.queue.state,
      paces: this.paces,
      attended: this.#attended,
      lastTickMs: this.lastTickMs,
    };
  }

  command(command: Command): void {
    this.commands.push(command);
  }

  get workers(): readonly Attendee[] {
    return [...this.#workers.values()];
  }

  worker(workerId: string): Attendee | undefined {
    return this.#workers.get(workerId);
  }

  addWorker(worker: Omit<Attendee, 'order'>): void {
    this.#workers.set(worker.workerId, { ...worker, order: this.#attended++ });
  }

  changeWorker(workerId: string, change: Partial<Attendee>): void {
    const worker = this.#workers.get(workerId);
    if (worker !== undefined) this.#workers.set(workerId, { ...worker, ...change });
  }

  removeWorker(workerId: string): void {
    this.#workers.delete(workerId);
  }

  /** Idle workers of a role, those that attended first first. */
  idle(role: Role): readonly Attendee[] {
    const idle = this.workers.filter((worker) => worker.runId === undefined && worker.role === role);
    return idle.sort((a, b) => a.order - b.order);
  }

  /** The attending members of a run, of one role or of all. */
  membersOf(runId: string, role?: Role): readonly Attendee[] {
    return this.workers.filter((worker) => worker.runId === runId && (role ?? worker.role) === worker.role);
  }

  get runIds(): readonly string[] {
    return [...this.#runs.keys()];
  }

  findRun(runId: string): DraftRun | undefined {
    const run = this.#runs.get(runId);
    return run && { state: run.durable, live: run.live };
  }

  /** @throws `not_found`. */
  run(runId: string): DraftRun {
    const run = this.findRun(runId);
    if (run === undefined)
      throw new WeftError('not_found', `there is no run ${JSON.stringify(runId)}`, {
        cure: 'list the runs with `weft ls`',
      });
    return run;
  }

  /** Appends a durable record; the run's state changes by nothing else. */
  record(runId: string, record: NewRecord): RunState {
    const stamped: RunRecord = { ...record, time: this.time };
    const run = this.#runs.get(runId);
    const durable = evolve(run?.durable, stamped);
    this.#setRun(runId, { durable, live: run?.live ?? { stage: 'ended' } });
    this.records.push({ runId, record: stamped });
    return durable;
  }

  setLive(runId: string, live: LiveRun): void {
    this.#setRun(runId, { durable: this.run(runId).state, live });
  }

  #setRun(runId: string, run: Run): void {
    this.#ownRuns ??= new Map(this.#runs);
    this.#runs = this.#ownRuns.set(runId, run);
  }
}
