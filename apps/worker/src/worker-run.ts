import type { DataPlane, ExpertExchange, ProcessGroup } from '@weft/collectives';
import { WeftError } from '@weft/common';
import { type RunConfig, resolveRunConfig } from '@weft/config';
import { addTime, type WorkTime, workTimeToProto } from '@weft/contracts';
import {
  type Assignment,
  type HeldRun,
  type PrepareRun,
  type Profile,
  type Progress,
  Role,
  type WriteManifest,
} from '@weft/proto';
import type { Logger, RecordedSpan, SpanRecorder, WorkClock, WorkerMetrics } from '@weft/telemetry';
import {
  exchangeShape,
  type SessionOptions,
  type StateTransfer,
  type TrainingSession,
  type TrainOutcome,
} from '@weft/training';
import { ExpertRun, type ExpertRunOptions } from './expert-run.js';
import { Generation } from './generation.js';
import { logSlowDecisions } from './log-slow-decisions.js';
import { ended, failed, failureOf, isPeerFailure, type Send, sendProfile } from './messages.js';
import { linkedRanks, memberName, watchPeers } from './peer-watch.js';
import { StepMeter } from './step-meter.js';

/** How long a rank waits for the others of its ring, which may be in a long step that cannot be interrupted. */
const JOIN_TIMEOUT_MS = 120_000;
/** An expert worker that takes longer for one answer is reported as too slow. Its first answers wait for its engine. */
const ANSWER_TIMEOUT_MS = 120_000;

/** The part of a `TrainingSession` that a worker uses. */
export type Session = Pick<TrainingSession, 'follow' | 'train' | 'warmUp' | 'writeManifest' | 'close' | 'engine'>;

/** Options of a `WorkerRun`. */
export interface WorkerRunOptions {
  readonly runId: string;
  readonly send: Send;
  readonly dataPlane: Pick<
    DataPlane,
    | 'joinRing'
    | 'callExperts'
    | 'hostExperts'
    | 'linkExperts'
    | 'sendState'
    | 'receiveState'
    | 'findUnreachable'
    | 'address'
  >;
  readonly openSession: (options: SessionOptions) => Promise<Session>;
  readonly openExperts: ExpertRunOptions['openExperts'];
  /** Threads inside one op; undefined: the run's setting, or this process's share of the cores. */
  readonly threads: number | undefined;
  readonly metrics: WorkerMetrics;
  /** What this process spends its time on. */
  readonly timer: WorkClock;
  /** Records what this process does, when the coordinator asks for it. */
  readonly spans: SpanRecorder;
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
  /** The ring of the generation, while there is one. */
  #group: Pick<ProcessGroup, 'stats'> | undefined;
  #session: Promise<Session> | undefined;
  #work: Promise<void>;
  #isClosed = false;
  /** What the process had spent its time on when it was first assigned to the run. */
  #before: WorkTime;
  #wasAssigned = false;
  readonly #manifests = new Set<Promise<void>>();
  /** The last manifest that was asked for, by its files. */
  #manifest: { readonly key: string; readonly written: ReturnType<Session['writeManifest']> } | undefined;

  constructor(options: WorkerRunOptions) {
    this.#options = options;
    this.#before = options.timer.spent;
    options.timer.enter('starting');
    this.#work = options.after;
    this.#meter = new StepMeter(options.metrics);
    this.#experts = new ExpertRun({
      ...options,
      onExchange: (description) => options.log.info(`tokens of run ${this.runId} come to experts by ${description}`),
      joinTimeoutMs: JOIN_TIMEOUT_MS,
    });
  }

  get runId(): string {
    return this.#options.runId;
  }

  /** The newest generation, if it has this number. */
  generation(number: number): Generation | undefined {
    return this.#generation?.id.generation === number ? this.#generation : undefined;
  }

  /** Gets ready to join the run under way, and says so. */
  prepare(message: PrepareRun): void {
    this.#work = this.#work.then(() => this.#prepare(message));
  }

  /** Begins a new generation, once the training of the one before has ended. */
  assign(assignment: Assignment): void {
    if (!this.#wasAssigned) this.#before = this.#options.timer.spent;
    this.#wasAssigned = true;
    const generation = new Generation(assignment, this.#options.send, this.#generation);
    this.#options.spans.finish();
    if (this.#generation?.leadsTo(assignment) !== true) this.#generation?.release();
    this.#generation = generation;
    this.#work = this.#work.then(() => this.#train(generation));
  }

  /** The coordinator is away: training goes on up to its next decision. @returns whether there is anything to keep */
  hold(): boolean {
    this.#generation?.hold();
    return this.held !== undefined;
  }

  /** What this worker holds of the run; undefined while that is nothing. */
  get held(): HeldRun | undefined {
    return this.#generation?.held;
  }

  /** Which generation it is in, and what its ring has done. */
  get progress(): Pick<Progress, 'runId' | 'generation' | 'ringOperations' | 'ringBytes'> {
    const { operations = 0, bytesSent = 0 } = this.#group?.stats ?? {};
    const { generation = 0 } = this.#generation?.id ?? {};
    return { runId: this.runId, generation, ringOperations: operations, ringBytes: bytesSent };
  }

  /** On rank 0, when every part of a checkpoint is on disk. */
  writeManifest(message: WriteManifest): void {
    const writing = this.#writeManifest(message).finally(() => this.#manifests.delete(writing));
    this.#manifests.add(writing);
  }

  /** Records some steps of a generation and sends what was done in them; nothing of one that is over. */
  profile({ profileId, generation, firstStep, lastStep }: Profile): void {
    const { send, spans } = this.#options;
    const onDone = (all: readonly RecordedSpan[], leftOut: number) => sendProfile(send, profileId, all, leftOut);
    if (this.generation(generation)?.isReleased === false) spans.record({ firstStep, lastStep, onDone });
    else onDone([], 0);
  }

  /** Tells the coordinator what this worker has spent its time on since it was assigned to the run. */
  reportTime(): void {
    const { timer, send } = this.#options;
    const buckets = workTimeToProto(addTime(timer.spent, this.#before, -1));
    send({ $case: 'timeReport', timeReport: { runId: this.runId, buckets, bucket: timer.bucket } });
  }

  /** Ends the run on this worker and frees everything of it. Resolves when the machine is free. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#options.spans.finish();
    this.reportTime();
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
    const { timer, log } = this.#options;
    const progress = { hasJoined: false };
    try {
      if (generation.isReleased) return;
      timer.enter(generation.plan.state.kind === 'fresh' ? 'starting' : 'recovering');
      const isExpert = generation.assignment.role === Role.ROLE_EXPERT_WORKER;
      const outcome = await (isExpert
        ? this.#serveExperts(generation, progress)
        : this.#trainRank(generation, progress));
      if (outcome === undefined) return;
      this.#options.spans.finish();
      if (outcome.outcome === 'handedOver') return;
      if (!generation.isReleased) generation.end(ended(generation.id, outcome), 'planned');
      log.info({ ...generation.id, ...outcome }, `run ${this.runId} is ${outcome.outcome} at step ${outcome.step}`);
    } catch (thrown) {
      timer.enter('recovering');
      this.#options.spans.finish();
      await this.#failed(generation, WeftError.from(thrown), progress.hasJoined);
    }
  }

  /** Undefined when the generation was over before it began. */
  async #trainRank(generation: Generation, progress: { hasJoined: boolean }): Promise<TrainOutcome | undefined> {
    const { log, metrics } = this.#options;
    const watch = this.#watch(generation);
    const group = await this.#join(generation, watch.signal).catch(watch.explain);
    watch.follow(group);
    this.#group = group;
    let exchange: ExpertExchange | undefined;
    try {
      exchange = await this.#callExperts(generation);
      progress.hasJoined = true;
      const session = await this.#open(generation.assignment);
      if (generation.isReleased) return undefined;
      const config = configOf(generation.assignment.configJson);
      await session.follow(config);
      const { generation: number, rank, worldSize, expertWorkers, firstStep, state } = generation.plan;
      const place = { runId: this.runId, generation: number, rank, worldSize, expertWorkers };
      metrics.joinedRun({ ...place, sources: Object.keys(config.data.sources) });
      this.#meter.follow(group);
      log.info(
        { ...place, firstStep, state: state.kind, precision: config.precision, engine: session.engine },
        `trains run ${this.runId} from step ${firstStep} as rank ${rank} of ${worldSize}, in ${config.precision}`,
      );
      const link = logSlowDecisions(generation, log);
      const transfer = this.#transferOf(generation);
      return await session
        .train(generation.plan, group, link, generation.signals, exchange, transfer)
        .catch(watch.explain);
    } finally {
      watch.end();
      this.#group = undefined;
      await exchange?.close();
      await group.close().catch(() => {});
    }
  }

  #serveExperts(generation: Generation, progress: { hasJoined: boolean }): Promise<TrainOutcome> {
    const { rank, expertWorkers, firstStep, state } = generation.plan;
    const { configJson, expertAddresses, ringAddresses } = generation.assignment;
    const { precision } = configOf(configJson);
    const local = this.#localOf([...ringAddresses, ...expertAddresses]);
    return this.#experts.serve(generation, local, (engine) => {
      progress.hasJoined = true;
      const fields = { ...generation.id, rank, expertWorkers, firstStep, state: state.kind, precision, engine };
      const what = `serves run ${this.runId} from step ${firstStep} as expert worker ${rank} of ${expertWorkers}, in ${precision}`;
      this.#options.log.info(fields, what);
    });
  }

  /** Called first: a ring that cannot form is noticed before a model is built. */
  async #join({ assignment, plan }: Generation, signal: AbortSignal): Promise<ProcessGroup> {
    return this.#options.dataPlane.joinRing({
      runId: this.runId,
      generation: plan.generation,
      rank: plan.rank,
      addresses: assignment.ringAddresses,
      token: assignment.ringToken,
      timeoutMs: JOIN_TIMEOUT_MS,
      signal,
    });
  }

  /** Leaves the ring when a neighbour in it cannot be reached any more. */
  #watch(generation: Generation) {
    const { assignment, plan, signals } = generation;
    const { ringAddresses, expertAddresses, newcomers } = assignment;
    const ended = new AbortController();
    const cut = new AbortController();
    let group: ProcessGroup | undefined;
    let found: WeftError | undefined;
    const own = this.#options.dataPlane.address;
    const others = (addresses: readonly string[]) => [...new Set(addresses)].filter((address) => address !== own);
    const linkedTo = (arriving: readonly number[]) =>
      others([...linkedRanks(plan, arriving).map((rank) => ringAddresses[rank]!), ...expertAddresses]);
    const watching = watchPeers({
      dataPlane: this.#options.dataPlane,
      neighbours: () => linkedTo(generation.lastStep < plan.firstStep ? newcomers : []),
      members: others([...ringAddresses, ...expertAddresses]),
      group: () => group,
      signal: AbortSignal.any([signals.released, ended.signal]),
    });
    void watching.then((unreachable) => {
      if (unreachable.length === 0) return;
      const names = unreachable.map((address) => memberName(assignment, address)).join(', ');
      found = new WeftError('unavailable', `${names} cannot be reached`);
      cut.abort();
    });
    return {
      signal: AbortSignal.any([signals.released, cut.signal]),
      follow: (joined: ProcessGroup) => {
        group = joined;
      },
      /** What broke because the ring was left broke for this reason. */
      explain: (thrown: unknown): never => {
        ended.abort();
        throw found !== undefined && !signals.released.aborted ? found : thrown;
      },
      end: () => ended.abort(),
    };
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

  /** The way of the state to the newcomers of a generation; undefined where there are none. */
  #transferOf({ assignment, plan, signals }: Generation): StateTransfer | undefined {
    const { ringAddresses: addresses, ringToken: token, newcomers } = assignment;
    if (newcomers.length === 0) return undefined;
    const closing = new AbortController();
    const options = {
      runId: this.runId,
      ...{ generation: plan.generation, rank: plan.rank, addresses, newcomers, token },
      timeoutMs: JOIN_TIMEOUT_MS,
      signal: AbortSignal.any([signals.released, closing.signal]),
    };
    const { dataPlane } = this.#options;
    return {
      send: (chunks) => dataPlane.sendState(options, chunks),
      receive: () => dataPlane.receiveState(options),
      close: () => closing.abort(),
    };
  }

  /** Never throws: the coordinator gets to know whether the worker can join. */
  async #prepare({ configJson, step, ringAddresses, ...message }: PrepareRun): Promise<void> {
    const { dataPlane, log, send } = this.#options;
    const { runId } = this;
    if (this.#isClosed) return;
    try {
      const addresses = [...ringAddresses, dataPlane.address];
      const session = await this.#open({ ...message, configJson, ringAddresses: addresses });
      await session.warmUp(step, addresses.length);
      if (this.#isClosed) return;
      log.info({ runId, step }, `is ready to join run ${runId}, which is at step ${step}`);
      send({ $case: 'runPrepared', runPrepared: { runId, failure: undefined } });
    } catch (thrown) {
      if (this.#isClosed) return;
      const error = WeftError.from(thrown);
      log.warn({ error, runId }, `cannot join run ${runId}: ${error.sentence}`);
      send({ $case: 'runPrepared', runPrepared: { runId, failure: failureOf(error) } });
    }
  }

  #open(assignment: SessionParts): Promise<Session> {
    if (this.#session !== undefined) return this.#session;
    const opening = this.#openNow(assignment);
    this.#session = opening;
    // After a failure the next generation tries again.
    opening.catch(() => {
      this.#session = undefined;
    });
    return opening;
  }

  async #openNow({ configJson, runDirectory, ringAddresses, expertAddresses }: SessionParts): Promise<Session> {
    const { timer, spans, log, openSession, threads } = this.#options;
    return openSession({
      runId: this.runId,
      config: configOf(configJson),
      runDirectory,
      localWorkers: this.#localOf([...ringAddresses, ...expertAddresses]),
      ...(threads === undefined ? {} : { threads }),
      timer,
      spans,
      onSave: (seconds) => this.#options.metrics.checkpointBegun(seconds),
      onBadSamples: (samples) => this.#options.metrics.indexOpened(samples),
      onStep: (result) => this.#meter.stepDone(result),
      onCollectives: (description) => log.info(`gradients of run ${this.runId} are summed by ${description}`),
      onExchange: (description) => log.info(`tokens of run ${this.runId} reach experts by ${description}`),
      onTaskScores: (step, scores) => {
        const each = scores.scores.map(({ task, shots, score }) => `${task} ${score.toFixed(1)} (${shots}-shot)`);
        log.info({ step, ...scores }, `scores after step ${step}: ${each.join(', ')}`);
      },
      onTaskFailure: (error) => log.warn({ error }, `no score for a task: ${error.sentence}`),
      onCompile: ({ phase, seconds, isDone, attention, compiledParts }) => {
        const words = attention === undefined ? '' : `, attention ${attention}`;
        const verb = compiledParts === 0 ? 'loaded' : isDone ? 'compiled' : 'compiling';
        log.info(`${verb} phase ${phase}, ${seconds.toFixed(0)} s${words}`);
      },
    });
  }

  /** How many processes of the run share this host. */
  #localOf(addresses: readonly string[]): number {
    const here = hostOf(this.#options.dataPlane.address);
    return Math.max(1, addresses.filter((address) => hostOf(address) === here).length);
  }

  async #failed(generation: Generation, error: WeftError, hadJoined: boolean): Promise<void> {
    const { log, metrics, dataPlane } = this.#options;
    if (generation.isReleased) return;
    const { id: place, lastStep } = generation;
    if (isPeerFailure(error, hadJoined)) {
      metrics.ringFailed();
      log.warn({ error, ...place }, `the ring of run ${this.runId} broke: ${error.message}`);
      const { ringAddresses, expertAddresses } = generation.assignment;
      const members = [...ringAddresses, ...expertAddresses].filter((address) => address !== dataPlane.address);
      const unreachable = [...(await dataPlane.findUnreachable(members))];
      const ringBroken = { ...place, step: lastStep + 1, reason: error.message, unreachable };
      if (!generation.isReleased) generation.end({ $case: 'ringBroken', ringBroken }, 'disconnected');
    } else {
      log.error({ error, ...place }, `run ${this.runId} failed: ${error.sentence}`);
      generation.end(failed(place, lastStep, error), 'failed');
    }
  }

  async #writeManifest({ generation, step, files, unhealthy }: WriteManifest): Promise<void> {
    const { log, send } = this.#options;
    const place = { runId: this.runId, generation };
    try {
      const session = await this.#session;
      // After the run has ended here, its checkpoint is not needed.
      if (session === undefined || this.#isClosed) return;
      const key = JSON.stringify([step, files]);
      // Another coordinator asks again. The manifest has its time, so a second one would not be the one in the log.
      if (this.#manifest?.key !== key) this.#manifest = { key, written: session.writeManifest(step, files, unhealthy) };
      const { directory, manifestSha256 } = await this.#manifest.written;
      log.info({ ...place, step, directory }, `checkpoint ${step} of run ${this.runId} is written`);
      send({ $case: 'checkpointWritten', checkpointWritten: { ...place, step, directory, manifestSha256 } });
    } catch (thrown) {
      const error = WeftError.from(thrown);
      log.error({ error, ...place, step }, `checkpoint ${step} of run ${this.runId} failed: ${error.sentence}`);
      send(failed(place, step, error));
    }
  }
}

/** What a session is opened with. */
type SessionParts = Pick<Assignment, 'configJson' | 'runDirectory' | 'ringAddresses' | 'expertAddresses'>;

function configOf(json: string): RunConfig {
  return resolveRunConfig(JSON.parse(json), 'the assigned configuration');
}

function hostOf(address: string): string {
  return address.slice(0, address.lastIndexOf(':'));
}
