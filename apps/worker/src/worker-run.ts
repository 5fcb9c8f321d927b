import type { DataPlane, ExpertExchange, ProcessGroup } from '@weft/collectives';
import { WeftError } from '@weft/common';
import { type RunConfig, resolveRunConfig } from '@weft/config';
import { type Assignment, Role, type WriteManifest } from '@weft/proto';
import type { Logger, WorkerMetrics } from '@weft/telemetry';
import { exchangeShape, type SessionOptions, type TrainingSession, type TrainOutcome } from '@weft/training';
import { ExpertRun, type ExpertRunOptions } from './expert-run.js';
import { Generation } from './generation.js';
import { logSlowDecisions } from './log-slow-decisions.js';
import { ended, failed, type Send } from './messages.js';
import { StepMeter } from './step-meter.js';

/** How long a rank waits for the others of its ring, which may be in a long step that cannot be interrupted. */
const JOIN_TIMEOUT_MS = 120_000;
/** An expert worker that takes longer for one answer is reported as too slow. Its first answers wait for its engine. */
const ANSWER_TIMEOUT_MS = 120_000;

/** The part of a `TrainingSession` that a worker uses. */
export type Session = Pick<TrainingSession, 'train' | 'writeManifest' | 'close' | 'engine'>;

/** Options of a `WorkerRun`. */
export interface WorkerRunOptions {
  readonly runId: string;
  readonly send: Send;
  readonly dataPlane: Pick<DataPlane, 'joinRing' | 'callExperts' | 'hostExperts' | 'address'>;
  readonly openSession: (options: SessionOptions) => Promise<Session>;
  readonly openExperts: ExpertRunOptions['openExperts'];
  /** Threads inside one op; undefined: the run's setting, or this process's share of the cores. */
  readonly threads: number | undefined;
  readonly metrics: WorkerMetrics;
  readonly log: Logger;
  /** Resolves when the runs before this one have freed the machine. */
  readonly after: Promise<void>;
}

/** One run on this worker: keeps its session from generation to generation, and takes the coordinator's messages about it. */
export class WorkerRun {
  readonly #options: WorkerRunOptions;
  readonly #meter: StepMeter;
  readonly #experts: ExpertRun;
  #generation: Generation | undefined;
  #session: Promise<Session> | undefined;
  #work: Promise<void>;
  #isClosed = false;
  readonly #manifests = new Set<Promise<void>>();

  constructor(options: WorkerRunOptions) {
    this.#options = options;
    this.#work = options.after;
    this.#meter = new StepMeter(options.metrics);
    this.#experts = new ExpertRun({ ...options, joinTimeoutMs: JOIN_TIMEOUT_MS });
  }

  get runId(): string {
    return this.#options.runId;
  }

  /** The newest generation, if it has this number. */
  generation(number: number): Generation | undefined {
    return this.#generation?.id.generation === number ? this.#generation : undefined;
  }

  /** Begins a new generation, once the training of the one before has ended. */
  assign(assignment: Assignment): void {
    const generation = new Generation(assignment, this.#options.send);
    this.#generation?.release();
    this.#generation = generation;
    this.#work = this.#work.then(() => this.#train(generation));
  }

  /** On rank 0, when every part of a checkpoint is on disk. */
  writeManifest(message: WriteManifest): void {
    const writing = this.#writeManifest(message).finally(() => this.#manifests.delete(writing));
    this.#manifests.add(writing);
  }

  /** Ends the run on this worker and frees everything of it. Resolves when the machine is free. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#generation?.release();
    await this.#work;
    await Promise.all(this.#manifests);
    const session = await this.#session?.catch(() => undefined);
    for (const held of [session, this.#experts])
      await held?.close().catch((error: unknown) => {
        this.#options.log.warn({ error }, `run ${this.runId} did not close cleanly`);
      });
    this.#options.metrics.leftRun();
  }

  /** Never throws: the coordinator gets the outcome. */
  async #train(generation: Generation): Promise<void> {
    const { log, send } = this.#options;
    const progress = { hasJoined: false };
    try {
      if (generation.isReleased) return;
      const isExpert = generation.assignment.role === Role.ROLE_EXPERT_WORKER;
      const outcome = await (isExpert
        ? this.#serveExperts(generation, progress)
        : this.#trainRank(generation, progress));
      if (outcome === undefined) return;
      if (!generation.isReleased) send(ended(generation.id, outcome));
      log.info({ ...generation.id, ...outcome }, `run ${this.runId} is ${outcome.outcome} at step ${outcome.step}`);
    } catch (thrown) {
      this.#failed(generation, WeftError.from(thrown), progress.hasJoined);
    }
  }

  /** Undefined when the generation was over before it began. */
  async #trainRank(generation: Generation, progress: { hasJoined: boolean }): Promise<TrainOutcome | undefined> {
    const { log, metrics } = this.#options;
    const group = await this.#join(generation);
    let exchange: ExpertExchange | undefined;
    try {
      exchange = await this.#callExperts(generation);
      progress.hasJoined = true;
      const session = await this.#open(generation.assignment);
      if (generation.isReleased) return undefined;
      const { generation: number, rank, worldSize, expertWorkers, firstStep, state } = generation.plan;
      const sources = Object.keys(configOf(generation.assignment.configJson).data.sources);
      metrics.joinedRun({ runId: this.runId, rank, worldSize, generation: number, sources });
      this.#meter.follow(group);
      const place = { generation: number, rank, worldSize, expertWorkers };
      log.info(
        { ...place, firstStep, state: state.kind, engine: session.engine },
        `trains run ${this.runId} from step ${firstStep} as rank ${rank} of ${worldSize}`,
      );
      const link = logSlowDecisions(generation, log);
      return await session.train(generation.plan, group, link, generation.signals, exchange);
    } finally {
      await exchange?.close();
      await group.close().catch(() => {});
    }
  }

  #serveExperts(generation: Generation, progress: { hasJoined: boolean }): Promise<TrainOutcome> {
    const { rank, expertWorkers, firstStep, state } = generation.plan;
    const { expertAddresses, ringAddresses } = generation.assignment;
    const local = this.#localOf([...ringAddresses, ...expertAddresses]);
    return this.#experts.serve(generation, local, (engine) => {
      progress.hasJoined = true;
      const fields = { ...generation.id, rank, expertWorkers, firstStep, state: state.kind, engine };
      const what = `serves run ${this.runId} from step ${firstStep} as expert worker ${rank} of ${expertWorkers}`;
      this.#options.log.info(fields, what);
    });
  }

  /** Called first: a ring that cannot form is noticed before a model is built. */
  async #join({ assignment, plan, signals }: Generation): Promise<ProcessGroup> {
    return this.#options.dataPlane.joinRing({
      runId: this.runId,
      generation: plan.generation,
      rank: plan.rank,
      addresses: assignment.ringAddresses,
      token: assignment.ringToken,
      timeoutMs: JOIN_TIMEOUT_MS,
      signal: signals.released,
    });
  }

  async #callExperts({ assignment, plan, signals }: Generation): Promise<ExpertExchange | undefined> {
    const { expertAddresses: addresses, ringToken: token, configJson } = assignment;
    if (addresses.length === 0) return undefined;
    return this.#options.dataPlane.callExperts({
      runId: this.runId,
      generation: plan.generation,
      rank: plan.rank,
      worldSize: plan.worldSize,
      token,
      addresses,
      shape: exchangeShape(configOf(configJson), addresses.length),
      timeoutMs: JOIN_TIMEOUT_MS,
      answerTimeoutMs: ANSWER_TIMEOUT_MS,
      signal: signals.released,
    });
  }

  #open(assignment: Assignment): Promise<Session> {
    if (this.#session !== undefined) return this.#session;
    const opening = this.#openNow(assignment);
    this.#session = opening;
    // After a failure the next generation tries again.
    opening.catch(() => {
      this.#session = undefined;
    });
    return opening;
  }

  async #openNow({ configJson, runDirectory, ringAddresses, expertAddresses }: Assignment): Promise<Session> {
    const { log, openSession, threads } = this.#options;
    const config = configOf(configJson);
    return openSession({
      runId: this.runId,
      config,
      runDirectory,
      localWorkers: this.#localOf([...ringAddresses, ...expertAddresses]),
      ...(threads === undefined ? {} : { threads }),
      onStep: this.#meter.stepsOf(config),
      onHeldOut: (loss) => this.#meter.evaluated(loss),
      onCompile: ({ phase, seconds, isDone, attention }) => {
        const words = attention === undefined ? '' : `, attention ${attention}`;
        log.info(`${isDone ? 'compiled' : 'compiling'} phase ${phase}, ${seconds.toFixed(0)} s${words}`);
      },
    });
  }

  /** How many processes of the run share this host. */
  #localOf(addresses: readonly string[]): number {
    const here = hostOf(this.#options.dataPlane.address);
    return Math.max(1, addresses.filter((address) => hostOf(address) === here).length);
  }

  #failed(generation: Generation, error: WeftError, hadJoined: boolean): void {
    const { log, metrics, send } = this.#options;
    if (generation.isReleased) return;
    const { id: place, lastStep } = generation;
    if (isPeerFailure(error, hadJoined)) {
      metrics.ringFailed();
      log.warn({ error, ...place }, `the ring of run ${this.runId} broke: ${error.message}`);
      send({ $case: 'ringBroken', ringBroken: { ...place, step: lastStep + 1, reason: error.message } });
    } else {
      log.error({ error, ...place }, `run ${this.runId} failed: ${error.sentence}`);
      send(failed(place, lastStep, error));
    }
  }

  async #writeManifest({ generation, step, files }: WriteManifest): Promise<void> {
    const { log, send } = this.#options;
    const place = { runId: this.runId, generation };
    try {
      const session = await this.#session;
      // After the run has ended here, its checkpoint is not needed.
      if (session === undefined || this.#isClosed) return;
      const directory = await session.writeManifest(step, files);
      log.info({ ...place, step, directory }, `checkpoint ${step} of run ${this.runId} is written`);
      send({ $case: 'checkpointWritten', checkpointWritten: { ...place, step, directory } });
    } catch (thrown) {
      const error = WeftError.from(thrown);
      log.error({ error, ...place, step }, `checkpoint ${step} of run ${this.runId} failed: ${error.sentence}`);
      send(failed(place, step, error));
    }
  }
}

/** Whether another process may be the cause; the coordinator then finds out which workers are left. */
function isPeerFailure({ code }: WeftError, hadJoined: boolean): boolean {
  if (code === 'unavailable' || code === 'deadline_exceeded') return true;
  return !hadJoined && (code === 'failed_precondition' || code === 'cancelled');
}

function configOf(json: string): RunConfig {
  return resolveRunConfig(JSON.parse(json), 'the assigned configuration');
}

function hostOf(address: string): string {
  return address.slice(0, address.lastIndexOf(':'));
}
