import { assertNever } from '@weft/common';
import { type RunConfig, resolveRunConfig } from '@weft/config';
import {
  type ClusterEvent,
  type ClusterState,
  type Command,
  type Decision,
  decide,
  defaultTimeouts,
  describeRun,
  type FoundCheckpoint,
  InMemoryQueue,
  initialCluster,
  learnProgress,
  type MemberProgress,
  type RunDescription,
  repairMetrics,
  replay,
  type WorkerIdentity,
} from '@weft/coordination';
import { recipeInput } from '@weft/recipes';
import { checkQueue, checkRun } from './invariants.js';
import { SimulatedRing } from './simulated-ring.js';
import { type Assignment, type SimulatedRun, SimulatedWorker } from './simulated-worker.js';

/** A simulated ring may break any number of times. */
const TIMEOUTS = { ...defaultTimeouts, maxRingFailures: Number.POSITIVE_INFINITY };

/** What a simulated run asks for. */
export interface SimulatedLaunch {
  readonly workers: number;
  readonly steps: number;
  /** Default 2. */
  readonly checkpointEverySteps?: number;
  /** Default 0. */
  readonly priority?: number;
  /** Default 1. */
  readonly maxAttempts?: number;
}

interface SimulatedClusterOptions {
  /** Called after every decision, when its commands are executed. */
  readonly onDecision?: (decision: Decision, event: ClusterEvent, nowMs: number) => void;
}

/**
 * A coordinator that decides with `decide`, with its logs and its queue; workers with mailboxes; a disk and a clock.
 * Nothing happens by itself: the caller decides which message arrives next, who computes, who dies and when time passes.
 * After every event the invariants of the queue are checked.
 */
export class SimulatedCluster {
  readonly workers: SimulatedWorker[] = [];
  /** Those that lost their coordinator and hold what they have. */
  readonly #cutOff: SimulatedWorker[] = [];
  /** In the order they were launched. */
  readonly runs: SimulatedRun[] = [];
  readonly queue = new InMemoryQueue();
  readonly #onDecision: NonNullable<SimulatedClusterOptions['onDecision']>;
  #nowMs = 0;
  #state: ClusterState = initialCluster(TIMEOUTS);
  readonly #lastMessageMs = new Map<string, number>();
  readonly #progress = new Map<string, MemberProgress>();
  #spawned = 0;
  /** Events that follow once all commands of the current decision are executed. */
  #pending: ClusterEvent[] = [];
  readonly #rings = new Map<string, SimulatedRing>();

  constructor({ onDecision = () => {} }: SimulatedClusterOptions = {}) {
    this.#onDecision = onDecision;
  }

  view({ runId }: SimulatedRun): RunDescription {
    return describeRun(this.#state, runId)!;
  }

  /** Decides an event, writes the records and executes the commands. */
  handle(event: ClusterEvent): void {
    if (event.kind === 'workerConnected') this.#lastMessageMs.delete(event.worker.workerId);
    else if ('workerId' in event) this.#lastMessageMs.set(event.workerId, this.#nowMs);
    const lastMessageMs = (workerId: string) => this.#lastMessageMs.get(workerId);
    const progressOf = (workerId: string) => this.#progress.get(workerId);
    const decision = decide(this.#nowMs, this.#state, event, { lastMessageMs, progressOf });
    this.#state = decision.state;
    for (const { runId, record } of decision.records) this.#run(runId).log.push(record);
    for (const command of decision.commands) this.#execute(command);
    this.#onDecision(decision, event, this.#nowMs);
    checkQueue(this.#state, this.queue.list(this.#nowMs), this.#nowMs);
    for (const next of this.#pending.splice(0)) this.handle(next);
  }

  launch(options: SimulatedLaunch): SimulatedRun {
    const runId = `run-${this.runs.length}`;
    const run: SimulatedRun = { runId, workers: options.workers, log: [], checkpoints: new Map(), rows: [] };
    this.runs.push(run);
    this.handle({ kind: 'launch', runId, config: simulatedConfig(options), weftVersion: '0' });
    return run;
  }

  stop(run: SimulatedRun | undefined, saveCheckpoint: boolean): void {
    if (run !== undefined && !['finished', 'failed'].includes(this.view(run).status))
      this.handle({ kind: 'stop', runId: run.runId, saveCheckpoint });
  }

  /** Resumes a run that has stopped or failed; other runs stay as they are. */
  resume(run: SimulatedRun | undefined): void {
    if (run === undefined || !['stopped', 'failed'].includes(this.view(run).status)) return;
    const found = this.#newestCheckpoint(run);
    // Without a checkpoint a person has to ask for a start from the beginning.
    const fromStep = found.checkpoint === undefined ? 0 : undefined;
    this.handle({ kind: 'resume', runId: run.runId, workers: undefined, steps: undefined, fromStep, found });
  }

  /** A person changes the job of a run that has not started. */
  changeQueue({ runId }: SimulatedRun, change: (queue: InMemoryQueue, jobId: string) => void): void {
    const job = this.queue.list(this.#nowMs).jobs.find((other) => other.runId === runId);
    if (job === undefined || job.state === 'active') return;
    change(this.queue, job.id);
    this.listQueue();
  }

  /** The coordinator reads the queue, as it does after every change. */
  listQueue(): void {
    this.handle({ kind: 'queueListed', queue: this.queue.list(this.#nowMs) });
  }

  /** A new worker process connects. */
  spawnWorker(): void {
    const workerId = `w${this.#spawned++}`;
    const diskOf = (runId: string) => this.#run(runId).checkpoints;
    this.workers.push(new SimulatedWorker(workerId, diskOf, (assignment) => this.#ring(assignment)));
    this.handle({ kind: 'workerConnected', worker: identityOf(workerId) });
  }

  /** The coordinator misses a worker, which lives on and keeps what it holds. */
  cutOffWorker(index: number): void {
    for (const worker of this.workers.splice(index, index < this.workers.length ? 1 : 0)) {
      worker.disconnect();
      this.#cutOff.push(worker);
      this.handle({ kind: 'workerDisconnected', workerId: worker.workerId, reason: 'it was cut off' });
    }
  }

  /** The one that was cut off first connects again. */
  reconnectWorker(): void {
    const worker = this.#cutOff.shift();
    if (worker === undefined) return;
    worker.disconnect();
    this.workers.push(worker);
    this.handle({ kind: 'workerConnected', worker: identityOf(worker.workerId), held: worker.held });
  }

  /** A worker process dies. With `flush`, the messages it had sent still arrive. */
  killWorker(index: number, flush: boolean): void {
    const worker = this.workers[index];
    if (worker === undefined) return;
    worker.breakRing();
    this.workers.splice(index, 1);
    if (flush) for (const event of worker.outbox) this.handle(event);
    this.handle({ kind: 'workerDisconnected', workerId: worker.workerId, reason: 'it was killed' });
  }

  /** kill -9 of the coordinator: the next one has only the logs and the queue, and its workers connect as new ones. */
  restartCoordinator(): void {
    const states = this.runs.map(({ log }) => replay(log));
    this.#state = initialCluster(TIMEOUTS, states);
    const before = this.workers.splice(0);
    for (const worker of before) worker.breakRing();
    const queue = this.queue.list(this.#nowMs);
    this.handle({ kind: 'recovered', policy: 'auto', queue, endedJobIds: this.queue.endedIds });
    for (const _ of before) this.spawnWorker();
  }

  /** kill -9 of the coordinator alone: its workers keep what they hold, and connect to the next one later. */
  replaceCoordinator(): void {
    for (const worker of this.workers) worker.disconnect();
    this.#cutOff.push(...this.workers.splice(0));
    this.#state = initialCluster(
      TIMEOUTS,
      this.runs.map(({ log }) => replay(log)),
    );
    const queue = this.queue.list(this.#nowMs);
    this.handle({ kind: 'recovered', policy: 'auto', queue, endedJobIds: this.queue.endedIds });
  }

  /** A byte of the newest checkpoint changes, so that it does not verify any more. */
  damageNewestCheckpoint({ checkpoints }: SimulatedRun): void {
    checkpoints.delete(Math.max(...checkpoints.keys()));
  }

  /** The next message of a worker reaches the coordinator. */
  deliver(index: number): void {
    const event = this.workers[index]?.outbox.shift();
    if (event !== undefined) this.handle(event);
  }

  /** Every worker that does not hang handles a message, computes and has a message delivered. */
  round(): void {
    for (const worker of [...this.workers]) {
      if (worker.isHanging) continue;
      worker.receive();
      worker.compute();
      this.deliver(this.workers.indexOf(worker));
      if (worker.hasLeft) this.killWorker(this.workers.indexOf(worker), true);
    }
  }

  /** Time passes; workers that do not hang send heartbeats, and the coordinator reads its queue. */
  advance(durationMs: number): void {
    this.#nowMs += durationMs;
    for (const { workerId, isHanging, progress } of [...this.workers]) {
      if (isHanging) continue;
      this.#lastMessageMs.set(workerId, this.#nowMs);
      this.#progress.set(workerId, learnProgress(this.#progress.get(workerId), progress, this.#nowMs));
    }
    this.handle({ kind: 'tick' });
    this.listQueue();
  }

  /**
   * Ends all disasters: workers recover and are replaced, the queue and stopped runs are resumed. Then every run must
   * finish.
   *
   * @throws Error naming what the runs wait for, when they do not.
   */
  runToCompletion(): void {
    for (const worker of [...this.workers, ...this.#cutOff]) worker.isHanging = false;
    while (this.#cutOff.length > 0) this.reconnectWorker();
    this.queue.isPaused = false;
    for (const { id } of this.queue.list(this.#nowMs).jobs) this.queue.resume(id);
    const workers = Math.max(...this.runs.map((run) => run.workers));
    for (let rounds = 0; this.runs.some((run) => this.view(run).status !== 'finished'); rounds++) {
      if (rounds > 4000) throw new Error(`stuck: ${this.runs.map((run) => this.view(run).reason).join('; ')}`);
      while (this.workers.length < workers) this.spawnWorker();
      for (const run of this.runs) this.resume(run);
      this.round();
      this.advance(200);
    }
  }

  /** Every log must be equal to the log of an undisturbed run. */
  check(): void {
    for (const run of this.runs) {
      const state = this.#state.runs.get(run.runId)!.state;
      checkRun(run, state, this.queue.endOf(run.runId));
    }
  }

  #execute(command: Command): void {
    switch (command.kind) {
      case 'assign':
        for (const { workerId } of command.ring) this.#send(workerId, command);
        break;
      case 'prepare':
        this.#send(command.workerId, command);
        break;
      case 'decideStep':
      case 'endGeneration':
      case 'continueGeneration':
      case 'stopRun':
      case 'release':
        for (const workerId of command.workerIds) this.#send(workerId, command);
        break;
      case 'writeManifest':
        this.#send(command.workerId, command);
        break;
      case 'dismiss': {
        const index = this.workers.findIndex(({ workerId }) => workerId === command.workerId);
        for (const worker of index < 0 ? [] : this.workers.splice(index, 1)) worker.breakRing();
        break;
      }
      case 'findCheckpoint': {
        const { runId } = command;
        this.#pending.push({ kind: 'checkpointFound', runId, found: this.#newestCheckpoint(this.#run(runId)) });
        break;
      }
      case 'repairMetrics': {
        const run = this.#run(command.runId);
        run.rows = [...repairMetrics(run.rows, run.log)];
        break;
      }
      case 'appendMetrics':
        this.#run(command.runId).rows.push(command.row);
        break;
      case 'setAsideCheckpoints': {
        const { checkpoints } = this.#run(command.runId);
        for (const step of [...checkpoints.keys()]) if (step > command.afterStep) checkpoints.delete(step);
        break;
      }
      // They tell it with every heartbeat.
      case 'askProgress':
      case 'notify':
      case 'probe':
      case 'writeConfig':
        break;
      case 'enqueue':
      case 'takeJob':
      case 'requeueJob':
      case 'completeJob':
      case 'failJob':
      case 'cancelJob':
        this.queue.execute(command, this.#nowMs);
        break;
      default:
        assertNever(command);
    }
  }

  #send(workerId: string, command: Command): void {
    this.workers.find((worker) => worker.workerId === workerId)?.inbox.push(command);
  }

  #run(runId: string): SimulatedRun {
    const run = this.runs.find((other) => other.runId === runId);
    if (run === undefined) throw new Error(`no run ${runId}`);
    return run;
  }

  #newestCheckpoint(run: SimulatedRun): FoundCheckpoint {
    const { step: lastStep } = this.view(run);
    const step = Math.max(0, ...[...run.checkpoints.keys()].filter((saved) => saved <= lastStep));
    return { checkpoint: step === 0 ? undefined : { step, directory: `${step}` }, skipped: [] };
  }

  #ring({ runId, generation, ring: members }: Assignment): SimulatedRing {
    const name = `${runId}/${generation}`;
    const ring = this.#rings.get(name) ?? new SimulatedRing(members.length);
    this.#rings.set(name, ring);
    return ring;
  }
}

function identityOf(workerId: string): WorkerIdentity {
  return {
    workerId,
    ...{
      hostName: 'h',
      processId: 1,
      dataPlaneAddress: `${workerId}:1`,
      bf16Backends: [],
      device: 'cpu',
      role: 'rank',
    },
  };
}

/** Only what `decide` reads matters: workers, steps, checkpoints and queue. */
export function simulatedConfig(options: SimulatedLaunch): RunConfig {
  const { workers, steps, checkpointEverySteps = 2, priority = 0, maxAttempts = 1 } = options;
  const recipe = recipeInput('debugNano');
  return resolveRunConfig({
    ...recipe,
    workers,
    steps,
    globalBatchSize: Math.max(9, workers),
    microbatchSize: 1,
    optimizer: { ...recipe.optimizer, warmupSteps: 0 },
    checkpoint: { everySteps: checkpointEverySteps, keepLast: 5 },
    queue: { priority, maxAttempts, backoffSeconds: 1 },
  });
}
