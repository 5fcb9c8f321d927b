import { assertNever } from '@weft/common';
import { Ledger } from '@weft/mixture';
import { expect } from 'vitest';
import {
  type ClusterEvent,
  type ClusterState,
  type Command,
  decide,
  defaultSettings,
  describeRun,
  type FoundCheckpoint,
  initialCluster,
  ledgerRecords,
  type MetricsRow,
  mendMetrics,
  type RunRecord,
  type RunView,
  replay,
} from '../index.js';
import {
  type Disk,
  hasFiniteGradients,
  lossOf,
  type Ring,
  SEED_MODEL,
  SimulatedWorker,
  trained,
} from './simulated-worker.js';
import { tinyConfig } from './tiny-config.js';

const RUN = 'simulated';
/** A simulated ring may break as often as the dice say. */
const SETTINGS = { ...defaultSettings, maxRingFailures: Number.POSITIVE_INFINITY };

/**
 * A coordinator with its log, workers with their mailboxes and a disk. Nothing happens by itself: whoever holds it
 * says which message arrives next, who works, who dies and when time goes by.
 */
export class SimulatedCluster {
  readonly workers: SimulatedWorker[] = [];
  readonly log: RunRecord[] = [];
  rows: MetricsRow[] = [];
  #nowMs = 0;
  #state: ClusterState = initialCluster(SETTINGS);
  #born = 0;
  readonly #disk: Disk = new Map();
  readonly #rings = new Map<string, Ring>();
  readonly #wanted: number;

  constructor({ workers, steps }: { workers: number; steps: number }) {
    this.#wanted = workers;
    for (let i = 0; i < workers; i++) this.bear();
    this.on({ kind: 'launch', runId: RUN, config: tinyConfig({ workers, steps }), weftVersion: '0' });
  }

  get view(): RunView {
    return describeRun(this.#state, RUN)!;
  }

  on(event: ClusterEvent): void {
    const decision = decide(this.#nowMs, this.#state, event);
    this.#state = decision.state;
    this.log.push(...decision.records.map(({ record }) => record));
    for (const command of decision.commands) this.#carryOut(command);
  }

  /** A new worker attends. */
  bear(): void {
    const workerId = `w${this.#born++}`;
    this.workers.push(new SimulatedWorker(workerId, this.#disk, (assignment) => this.#ring(assignment)));
    this.on({
      kind: 'attended',
      worker: { workerId, hostName: 'h', processId: 1, dataPlaneAddress: `${workerId}:1`, device: 'cpu' },
    });
  }

  /** A worker's process ends; what it had sent may still arrive, when `flush` says so. */
  kill(index: number, flush: boolean): void {
    const worker = this.workers[index];
    if (worker === undefined) return;
    worker.breakRing();
    this.workers.splice(index, 1);
    if (flush) for (const event of worker.outbox) this.on(event);
    this.on({ kind: 'left', workerId: worker.workerId, reason: 'it was killed' });
  }

  /** The next message of a worker reaches the coordinator. */
  hear(index: number): void {
    const event = this.workers[index]?.outbox.shift();
    if (event !== undefined) this.on(event);
  }

  /** Time goes by; who does not hang beats. */
  pass(durationMs: number): void {
    this.#nowMs += durationMs;
    for (const { workerId, hangs } of [...this.workers]) if (!hangs) this.on({ kind: 'heartbeat', workerId });
    this.on({ kind: 'tick' });
  }

  /** kill -9 of the coordinator: its log is all it finds again, and its workers drop the run and attend anew. */
  restart(): void {
    this.#state = initialCluster(SETTINGS, [replay(this.log)]);
    const before = this.workers.splice(0);
    for (const worker of before) worker.breakRing();
    this.on({ kind: 'recovered', policy: 'auto' });
    for (const _ of before) this.bear();
  }

  stop(saveCheckpoint: boolean): void {
    if (!['finished', 'failed'].includes(this.view.phase)) this.on({ kind: 'stop', runId: RUN, saveCheckpoint });
  }

  resume(): void {
    if (!['stopped', 'failed'].includes(this.view.phase)) return;
    // Nothing fails a run but a checkpoint that went bad while the run was queued.
    if (this.view.failure !== undefined) expect(this.view.failure.code).toBe('corrupt_data');
    this.on({ kind: 'resume', runId: RUN, workers: undefined, steps: undefined, found: this.#newest() });
  }

  /** Everybody takes a message, works and is heard. */
  turn(): void {
    for (const worker of [...this.workers]) {
      if (worker.hangs) continue;
      worker.receive();
      worker.work();
      this.hear(this.workers.indexOf(worker));
    }
  }

  /** A byte of the newest checkpoint turns round: it does not verify any more. */
  corrupt(): void {
    this.#disk.delete(Math.max(...this.#disk.keys()));
  }

  /** From here on nothing bad happens any more: does the run come to its end? */
  settle(): void {
    for (const worker of this.workers) worker.hangs = false;
    for (let turns = 0; this.view.phase !== 'finished'; turns++) {
      if (turns > 2000) throw new Error(`the run is stuck: ${this.view.phase}, ${this.view.reason}`);
      while (this.workers.length < this.#wanted) this.bear();
      this.resume();
      this.turn();
      this.pass(200);
    }
  }

  /** The log tells the story of one undisturbed run. */
  check(): void {
    const ledger = Ledger.fold(ledgerRecords(this.log));
    expect(ledger.problems()).toEqual([]);
    expect(replay(JSON.parse(JSON.stringify(this.log)) as RunRecord[])).toEqual(this.#state.runs.get(RUN)?.durable);
    let model = SEED_MODEL;
    for (const entry of ledger.entries) {
      const apply = hasFiniteGradients(entry.step);
      expect(entry).toMatchObject({ loss: lossOf(model), applied: apply });
      model = trained(model, apply);
    }
    expect(this.rows.map(({ step }) => step)).toEqual(this.rows.map((_, index) => index + 1));
  }

  #carryOut(command: Command): void {
    switch (command.kind) {
      case 'assign':
        for (const { workerId } of command.ring) this.#send(workerId, command);
        break;
      case 'decideStep':
      case 'stopRun':
      case 'release':
        for (const workerId of command.workerIds) this.#send(workerId, command);
        break;
      case 'writeManifest':
        this.#send(command.workerId, command);
        break;
      case 'dismiss': {
        const index = this.workers.findIndex(({ workerId }) => workerId === command.workerId);
        for (const worker of this.workers.splice(index, 1)) worker.breakRing();
        break;
      }
      case 'findCheckpoint':
        this.on({ kind: 'checkpointFound', runId: RUN, found: this.#newest() });
        break;
      case 'mendMetrics':
        this.rows = [...mendMetrics(this.rows, this.log)];
        break;
      case 'appendMetrics':
        this.rows.push(command.row);
        break;
      case 'writeConfig':
        break;
      default:
        assertNever(command);
    }
  }

  #send(workerId: string, command: Command): void {
    this.workers.find((worker) => worker.workerId === workerId)?.inbox.push(command);
  }

  #newest(): FoundCheckpoint {
    const step = Math.max(0, ...[...this.#disk.keys()].filter((saved) => saved <= this.view.step));
    return { checkpoint: step === 0 ? undefined : { step, directory: `${step}` }, skipped: [] };
  }

  #ring({ generation }: { readonly generation: number }): Ring {
    const ring = this.#rings.get(`${generation}`) ?? { broken: false, arrived: new Map() };
    this.#rings.set(`${generation}`, ring);
    return ring;
  }
}
