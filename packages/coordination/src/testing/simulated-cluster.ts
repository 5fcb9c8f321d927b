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
  isEnded,
  ledgerRecords,
  type RunDescription,
  replay,
} from '../index.js';
import { ModelQueue } from './model-queue.js';
import { checkQueue } from './queue-checks.js';
import { SimulatedRun } from './simulated-run.js';
import { hasFiniteGradients, lossOf, type Ring, SEED_MODEL, SimulatedWorker, trained } from './simulated-worker.js';
import { tinyConfig } from './tiny-config.js';

/** A simulated ring may break as often as the dice say. */
const SETTINGS = { ...defaultSettings, maxRingFailures: Number.POSITIVE_INFINITY };

export interface SimulatedLaunch {
  readonly workers: number;
  readonly steps: number;
  readonly priority?: number;
  readonly maxAttempts?: number;
}

/**
 * A coordinator with its logs and its queue, workers with their mailboxes and a disk. Nothing happens by itself: whoever
 * holds it says which message arrives next, who works, who dies and when time goes by.
 */
export class SimulatedCluster {
  readonly workers: SimulatedWorker[] = [];
  /** In the order they were launched. */
  readonly runs: SimulatedRun[] = [];
  queue = new ModelQueue();
  #nowMs = 0;
  #state: ClusterState = initialCluster(SETTINGS);
  #born = 0;
  /** What happens once all commands of the decision in hand are carried out. */
  #afterwards: ClusterEvent[] = [];
  readonly #rings = new Map<string, Ring>();

  view({ runId }: SimulatedRun): RunDescription {
    return describeRun(this.#state, runId)!;
  }

  on(event: ClusterEvent): void {
    const decision = decide(this.#nowMs, this.#state, event);
    this.#state = decision.state;
    for (const { runId, record } of decision.records) this.run(runId).log.push(record);
    for (const command of decision.commands) this.#carryOut(command);
    checkQueue(this.#state, this.queue.list(this.#nowMs), this.#nowMs);
    for (const next of this.#afterwards.splice(0)) this.on(next);
  }

  launch({ workers, steps, priority = 0, maxAttempts = 1 }: SimulatedLaunch): void {
    const run = new SimulatedRun(`run-${this.runs.length}`, workers);
    this.runs.push(run);
    const config = tinyConfig({ workers, steps, queue: { priority, maxAttempts, backoffSeconds: 1 } });
    this.on({ kind: 'launch', runId: run.runId, config, weftVersion: '0' });
  }

  /** A new worker attends. */
  bear(): void {
    const workerId = `w${this.#born++}`;
    const diskOf = (runId: string) => this.run(runId).disk;
    this.workers.push(new SimulatedWorker(workerId, diskOf, (assignment) => this.#ring(assignment)));
    const identity = {
      workerId,
      hostName: 'h',
      processId: 1,
      dataPlaneAddress: `${workerId}:1`,
      device: 'cpu',
      role: 'rank' as const,
    };
    this.on({ kind: 'attended', worker: identity });
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

  /** Time goes by; who does not hang beats, and the coordinator looks at its queue. */
  pass(durationMs: number): void {
    this.#nowMs += durationMs;
    for (const { workerId, hangs } of [...this.workers]) if (!hangs) this.on({ kind: 'heartbeat', workerId });
    this.on({ kind: 'tick' });
    this.listQueue();
  }

  /** A person changes the place of a run that has not ended. */
  changeQueue({ runId }: SimulatedRun, change: (queue: ModelQueue, jobId: string) => void): void {
    const job = this.queue.list(this.#nowMs).jobs.find((other) => other.runId === runId);
    if (job === undefined || job.state === 'active') return;
    change(this.queue, job.id);
    this.listQueue();
  }

  listQueue(): void {
    this.on({ kind: 'queueListed', queue: this.queue.list(this.#nowMs) });
  }

  /** kill -9 of the coordinator: logs and queue are all it finds again, and its workers drop their runs and attend anew. */
  restart(): void {
    this.#state = initialCluster(
      SETTINGS,
      this.runs.map(({ log }) => replay(log)),
    );
    const before = this.workers.splice(0);
    for (const worker of before) worker.breakRing();
    const queue = this.queue.list(this.#nowMs);
    this.on({ kind: 'recovered', policy: 'auto', queue, endedJobIds: this.queue.endedIds });
    for (const _ of before) this.bear();
  }

  stop(run: SimulatedRun | undefined, saveCheckpoint: boolean): void {
    if (run !== undefined && !['finished', 'failed'].includes(this.view(run).status))
      this.on({ kind: 'stop', runId: run.runId, saveCheckpoint });
  }

  resume(run: SimulatedRun | undefined): void {
    if (run === undefined || !['stopped', 'failed'].includes(this.view(run).status)) return;
    this.on({ kind: 'resume', runId: run.runId, workers: undefined, steps: undefined, found: this.#newest(run) });
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

  /** From here on nothing bad happens any more: do all runs come to their end? */
  settle(): void {
    for (const worker of this.workers) worker.hangs = false;
    this.queue.isPaused = false;
    for (const { id } of this.queue.list(this.#nowMs).jobs) this.queue.resume(id);
    const wanted = Math.max(...this.runs.map(({ workers }) => workers));
    for (let turns = 0; this.runs.some((run) => this.view(run).status !== 'finished'); turns++) {
      if (turns > 4000) throw new Error(`stuck: ${this.runs.map((run) => this.view(run).reason).join('; ')}`);
      while (this.workers.length < wanted) this.bear();
      for (const run of this.runs) this.resume(run);
      this.turn();
      this.pass(200);
    }
  }

  /** Every log tells the story of one undisturbed run. */
  check(): void {
    for (const run of this.runs) this.#checkRun(run);
  }

  #checkRun({ log, rows, runId }: SimulatedRun): void {
    const ledger = Ledger.fold(ledgerRecords(log));
    expect(ledger.problems()).toEqual([]);
    const durable = this.#state.runs.get(runId)?.durable;
    expect(replay(structuredClone(log))).toEqual(durable);
    let model = SEED_MODEL;
    for (const entry of ledger.entries) {
      const apply = hasFiniteGradients(entry.step);
      expect(entry).toMatchObject({ loss: lossOf(model), applied: apply });
      model = trained(model, apply);
    }
    expect(rows.map(({ step }) => step)).toEqual(rows.map((_, index) => index + 1));
    const ends = { finished: ['completed', 'cancelled'], stopped: ['cancelled'], failed: ['failed', 'cancelled'] };
    const { status = 'queued' } = durable ?? {};
    if (isEnded(status)) expect(ends[status as keyof typeof ends]).toContain(this.queue.endOf(runId));
    else expect(this.queue.endOf(runId)).toBeUndefined();
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
      case 'findCheckpoint': {
        const { runId } = command;
        this.#afterwards.push({ kind: 'checkpointFound', runId, found: this.#newest(this.run(runId)) });
        break;
      }
      case 'mendMetrics':
        this.run(command.runId).mendMetrics();
        break;
      case 'appendMetrics':
        this.run(command.runId).rows.push(command.row);
        break;
      case 'writeConfig':
        break;
      case 'enqueue':
      case 'takeJob':
      case 'requeueJob':
      case 'completeJob':
      case 'failJob':
      case 'cancelJob':
        this.queue.carryOut(command, this.#nowMs);
        break;
      default:
        assertNever(command);
    }
  }

  #send(workerId: string, command: Command): void {
    this.workers.find((worker) => worker.workerId === workerId)?.inbox.push(command);
  }

  run(runId: string): SimulatedRun {
    const run = this.runs.find((other) => other.runId === runId);
    if (run === undefined) throw new Error(`no run ${runId}`);
    return run;
  }

  #newest(run: SimulatedRun): FoundCheckpoint {
    return run.newestCheckpoint(this.view(run).step);
  }

  #ring({ runId, generation }: { readonly runId: string; readonly generation: number }): Ring {
    const name = `${runId}/${generation}`;
    const ring = this.#rings.get(name) ?? { broken: false, arrived: new Map() };
    this.#rings.set(name, ring);
    return ring;
  }
}
