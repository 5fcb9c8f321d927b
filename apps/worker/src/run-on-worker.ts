import type { DataPlane, ProcessGroup } from '@weft/collectives';
import { WeftError } from '@weft/common';
import { type RunConfig, resolveRunConfig } from '@weft/config';
import type { Assignment, WriteManifest } from '@weft/proto';
import type { Logger, WorkerMetrics } from '@weft/telemetry';
import type { SessionOptions, TrainingSession } from '@weft/trainer';
import { Generation } from './generation.js';
import { ended, failed, type Send } from './messages.js';
import { StepMeter } from './step-meter.js';

/** How long a rank waits for the others of its ring: they may have a long step in hand that cannot be interrupted. */
const JOIN_TIMEOUT_MS = 120_000;

/** The part of a `TrainingSession` that a worker uses. */
export type Session = Pick<TrainingSession, 'train' | 'writeManifest' | 'close' | 'engine'>;

export interface RunOnWorkerOptions {
  readonly runId: string;
  readonly send: Send;
  readonly dataPlane: Pick<DataPlane, 'joinRing' | 'address'>;
  readonly openSession: (options: SessionOptions) => Promise<Session>;
  /** Threads inside one op; undefined: as the run or the machine has it. */
  readonly threads: number | undefined;
  readonly metrics: WorkerMetrics;
  readonly log: Logger;
  /** What must be over before this run may use the machine. */
  readonly after: Promise<void>;
}

/** One run on this worker: its session, kept from generation to generation, and what the coordinator says about it. */
export class RunOnWorker {
  readonly #options: RunOnWorkerOptions;
  readonly #meter: StepMeter;
  #generation: Generation | undefined;
  #session: Promise<Session> | undefined;
  #work: Promise<void>;
  #isDropped = false;
  readonly #manifests = new Set<Promise<void>>();

  constructor(options: RunOnWorkerOptions) {
    this.#options = options;
    this.#work = options.after;
    this.#meter = new StepMeter(options.metrics);
  }

  get runId(): string {
    return this.#options.runId;
  }

  /** The generation the coordinator spoke of last. */
  generation(number: number): Generation | undefined {
    return this.#generation?.place.generation === number ? this.#generation : undefined;
  }

  /** A new generation; it begins when the trainer has let go of the one before. */
  assign(assignment: Assignment): void {
    const generation = new Generation(assignment, this.#options.send);
    this.#generation?.release();
    this.#generation = generation;
    this.#work = this.#work.then(() => this.#train(generation));
  }

  /** To rank 0, when every part of a checkpoint is on disk. */
  writeManifest(message: WriteManifest): void {
    const writing = this.#writeManifest(message).finally(() => this.#manifests.delete(writing));
    this.#manifests.add(writing);
  }

  /** The run is over on this worker: nothing of it is kept. Resolves when the machine is free. */
  async drop(): Promise<void> {
    this.#isDropped = true;
    this.#generation?.release();
    await this.#work;
    await Promise.all(this.#manifests);
    const session = await this.#session?.catch(() => undefined);
    await session?.close().catch((error: unknown) => {
      this.#options.log.warn({ error }, `run ${this.runId} did not close cleanly`);
    });
    this.#options.metrics.leftRun();
  }

  /** Never throws: how it ended is told to the coordinator. */
  async #train(generation: Generation): Promise<void> {
    const { log, metrics, send } = this.#options;
    let group: ProcessGroup | undefined;
    try {
      if (generation.isReleased) return;
      group = await this.#join(generation);
      const session = await this.#open(generation.assignment);
      if (generation.isReleased) return;
      const { generation: number, rank, worldSize, firstStep, state } = generation.plan;
      metrics.joinedRun({ runId: this.runId, rank, worldSize, generation: number });
      this.#meter.follow(group);
      const fields = { generation: number, rank, worldSize, firstStep, state: state.kind, engine: session.engine };
      log.info(fields, `trains run ${this.runId} from step ${firstStep} as rank ${rank} of ${worldSize}`);
      const outcome = await session.train(generation.plan, group, generation, generation.signals);
      if (!generation.isReleased) send(ended(generation.place, outcome));
      log.info({ ...generation.place, ...outcome }, `run ${this.runId} is ${outcome.outcome} at step ${outcome.step}`);
    } catch (thrown) {
      this.#failed(generation, WeftError.from(thrown), group !== undefined);
    } finally {
      await group?.close().catch(() => {});
    }
  }

  /** Joined first, so that a ring that cannot be is known before a model is built for it. */
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

  #open(assignment: Assignment): Promise<Session> {
    if (this.#session !== undefined) return this.#session;
    const opening = this.#openNow(assignment);
    this.#session = opening;
    // What could not be opened is tried again by the next generation.
    opening.catch(() => {
      this.#session = undefined;
    });
    return opening;
  }

  async #openNow({ configJson, runDirectory, ringAddresses }: Assignment): Promise<Session> {
    const { dataPlane, openSession, threads } = this.#options;
    const config: RunConfig = resolveRunConfig(JSON.parse(configJson), 'the assigned configuration');
    const localWorkers = ringAddresses.filter((address) => hostOf(address) === hostOf(dataPlane.address)).length;
    return openSession({
      runId: this.runId,
      config,
      runDirectory,
      localWorkers: Math.max(1, localWorkers),
      ...(threads === undefined ? {} : { threads }),
      onStep: (result) => this.#meter.stepDone(config, result),
    });
  }

  #failed(generation: Generation, error: WeftError, hadJoined: boolean): void {
    const { log, metrics, send } = this.#options;
    if (generation.isReleased) return;
    const { place, lastStep } = generation;
    if (isRingTrouble(error, hadJoined)) {
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
      // Of a run that is over here, nobody waits for a checkpoint any more.
      if (session === undefined || this.#isDropped) return;
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

/** Whether others may be the reason, so that the coordinator should look who is left. */
function isRingTrouble({ code }: WeftError, hadJoined: boolean): boolean {
  if (code === 'unavailable') return true;
  return !hadJoined && (code === 'deadline_exceeded' || code === 'failed_precondition' || code === 'cancelled');
}

function hostOf(address: string): string {
  return address.slice(0, address.lastIndexOf(':'));
}
