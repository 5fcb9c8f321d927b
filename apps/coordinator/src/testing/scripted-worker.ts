import {
  checkpointDirectory,
  readManifest,
  readTensors,
  shardTensors,
  writeManifest,
  writeShard,
} from '@weft/checkpoint';
import { hash32, WEFT_VERSION, WeftError } from '@weft/common';
import { resolveRunConfig } from '@weft/config';
import type { DevicePeak, WorkerMemory } from '@weft/contracts';
import { digestOf } from '@weft/mixture';
import {
  type Assignment,
  type ClockProbe,
  type CoordinatorMessage,
  type Profile,
  type ProfileSpan,
  Role,
  type StepDecision,
  type WorkerMessage,
} from '@weft/proto';
import { type MessageStream, pairedStreams } from '@weft/rpc';
import { processNowMs } from '@weft/telemetry';
import type { Coordinator } from '../coordinator.js';

interface Model {
  readonly step: number;
  readonly weights: number;
}

interface Generation {
  readonly released: AbortController;
  stopAfter: number | undefined;
}

export interface ScriptOptions {
  readonly workerId: string;
  readonly version?: string;
  /** Called before each step; a script can wait here, or end the worker. */
  readonly beforeStep?: (step: number, worker: ScriptedWorker) => Promise<void> | void;
  /** How often it sends heartbeats; default never. */
  readonly heartbeatEveryMs?: number;
  /** What it says it has; default: nothing. */
  readonly memory?: WorkerMemory;
  readonly peak?: DevicePeak;
  /** How far its clock is ahead of the coordinator's; default: not. */
  readonly clockAheadMs?: number;
}

/**
 * A worker on an in-memory stream whose model is one number. It votes, saves real checkpoints and loads them again;
 * only the gradients are missing.
 */
export class ScriptedWorker {
  /** Resolves when the stream is over, to the reason. */
  readonly gone: Promise<WeftError | undefined>;
  readonly assignments: Assignment[] = [];
  /** What heartbeats beside the stream carry; undefined before the welcome. */
  heartbeatToken: string | undefined;
  readonly #options: ScriptOptions;
  readonly #stream: MessageStream<CoordinatorMessage, WorkerMessage>;
  #model: Model = { step: 0, weights: 0 };
  #generation: Generation | undefined;
  /** What is asked for, and what was done so far. */
  #profile: Profile | undefined;
  #spans: ProfileSpan[] = [];
  #decisions: ((decision: StepDecision) => void)[] = [];

  constructor(coordinator: Coordinator, options: ScriptOptions) {
    this.#options = options;
    const { workerId, version = WEFT_VERSION, heartbeatEveryMs } = options;
    const { client, server } = pairedStreams<WorkerMessage, CoordinatorMessage>();
    this.#stream = client;
    this.gone = client.closed;
    coordinator.workers.connect(server).then(
      () => server.close(),
      (thrown: unknown) => server.close(WeftError.from(thrown)),
    );
    const identity = {
      workerId,
      hostName: 'host',
      processId: 1,
      dataPlaneAddress: `${workerId}:1`,
      device: 'none',
      metricsAddress: `${workerId}:2`,
      role: Role.ROLE_RANK,
      bf16Backends: ['tensorflow'],
      memory: options.memory,
      held: undefined,
      peak: options.peak,
    };
    this.#send({ $case: 'hello', hello: { ...identity, version } });
    void this.#listen().catch(() => {});
    if (heartbeatEveryMs === undefined) return;
    const timer = setInterval(
      () => this.#send({ $case: 'heartbeat', heartbeat: { progress: undefined } }),
      heartbeatEveryMs,
    );
    void this.gone.then(() => clearInterval(timer));
  }

  get workerId(): string {
    return this.#options.workerId;
  }

  /** As if its process had been killed. */
  kill(): void {
    this.#generation?.released.abort();
    this.#stream.close(new WeftError('cancelled', 'killed'));
  }

  #send(body: WorkerMessage['body']): void {
    this.#stream.send({ body });
  }

  async #listen(): Promise<void> {
    let work: Promise<void> = Promise.resolve();
    for await (const { body } of this.#stream.messages) {
      if (body?.$case === 'welcome') this.heartbeatToken = body.welcome.heartbeatToken;
      if (body?.$case === 'assignment') {
        const { assignment } = body;
        const generation: Generation = { released: new AbortController(), stopAfter: undefined };
        this.assignments.push(assignment);
        this.#generation = generation;
        work = work.then(() => this.#train(assignment, generation));
      }
      if (body?.$case === 'clockProbe') this.#answerClock(body.clockProbe);
      if (body?.$case === 'profile') this.#profile = body.profile;
      if (body?.$case === 'stepDecision') this.#decisions.shift()?.(body.stepDecision);
      if (body?.$case === 'stopRun' && this.#generation !== undefined)
        this.#generation.stopAfter = body.stopRun.afterStep;
      if (body?.$case === 'release') {
        this.#generation?.released.abort();
        this.#decisions = [];
      }
      if (body?.$case === 'writeManifest') await this.#writeManifest(body.writeManifest);
    }
  }

  async #train(assignment: Assignment, generation: Generation): Promise<void> {
    const { state, firstStep, configJson } = assignment;
    const config = resolveRunConfig(JSON.parse(configJson));
    if (state?.$case === 'fresh') this.#model = { step: 0, weights: 0 };
    if (state?.$case === 'checkpointDirectory') this.#model = await load(state.checkpointDirectory);
    const released = new Promise<undefined>((resolve) => {
      generation.released.signal.addEventListener('abort', () => resolve(undefined), { once: true });
    });
    if (firstStep > config.steps) await this.#save(assignment);
    while (this.#model.step < config.steps && this.#model.step !== generation.stopAfter) {
      const step = this.#model.step + 1;
      await this.#options.beforeStep?.(step, this);
      if (generation.released.signal.aborted) return;
      const beganMs = this.#clockMs();
      const decision = await Promise.race([this.#vote(assignment, step), released]);
      if (decision === undefined) return;
      this.#recordStep(step, beganMs);
      this.#model = { step, weights: hash32(`${this.#model.weights}/${step}`) % 1000 };
      if (assignment.rank === 0) this.#report(assignment, step);
      const isLast = step === config.steps || step === generation.stopAfter;
      if (isLast || step % config.checkpoint.everySteps === 0) await this.#save(assignment);
    }
  }

  #vote({ runId, generation, rank }: Assignment, step: number): Promise<StepDecision> {
    const decided = new Promise<StepDecision>((resolve) => this.#decisions.push(resolve));
    const loss = 1 / (1 + this.#model.weights);
    const sequenceDigest = digestOf([`${step}/${rank}`]);
    const stepVote = {
      runId,
      generation,
      step,
      loss,
      gradNorm: 1,
      finite: true,
      sequenceDigest,
      lossTokens: 9,
      communicationSeconds: 0.25 + rank,
      dataSeconds: 0.1,
      computeSeconds: 2 - rank,
      sourceLoss: {},
      applySecondsBefore: 0.05,
    };
    this.#send({ $case: 'stepVote', stepVote });
    return decided;
  }

  #report({ runId, generation }: Assignment, step: number): void {
    const seconds = {
      dataSeconds: 0.1,
      computeSeconds: 0.2,
      communicationSeconds: 0.3,
      applySeconds: 0.4,
      measures: {},
      sourceLoss: {},
      moe: undefined,
      heldOut: undefined,
      taskScores: undefined,
    };
    const stepReport = { runId, generation, step, learningRate: 1e-3, tokensPerSecond: 100, ...seconds };
    this.#send({ $case: 'stepReport', stepReport });
  }

  #clockMs(): number {
    return processNowMs() + (this.#options.clockAheadMs ?? 0);
  }

  #answerClock(probe: ClockProbe): void {
    this.#send({ $case: 'clockReply', clockReply: { ...probe, workerMs: this.#clockMs() } });
  }

  #recordStep(step: number, beginMs: number): void {
    const profile = this.#profile;
    if (profile === undefined || step < profile.firstStep) return;
    const durationMs = this.#clockMs() - beginMs;
    this.#spans.push({ track: 'step', name: `step ${step}`, beginMs, durationMs, detailsJson: '' });
    if (step < profile.lastStep) return;
    const profilePart = { profileId: profile.profileId, spans: this.#spans, leftOut: 0, isLast: true };
    this.#send({ $case: 'profilePart', profilePart });
    this.#profile = undefined;
    this.#spans = [];
  }

  async #save({ runId, generation, rank, ringAddresses, runDirectory }: Assignment): Promise<void> {
    const { step, weights } = this.#model;
    const worldSize = ringAddresses.length;
    const specs = [
      { name: 'weights', shape: [1] },
      { name: 'more', shape: [1] },
    ];
    const names = shardTensors(specs, rank, worldSize);
    const tensors = names.map((name) => ({ name, shape: [1], data: Float32Array.of(weights) }));
    const file = await writeShard({ directory: checkpointDirectory(runDirectory, step), rank, worldSize, tensors });
    this.#send({ $case: 'checkpointPart', checkpointPart: { runId, generation, step, files: [file] } });
  }

  async #writeManifest(
    message: Extract<NonNullable<CoordinatorMessage['body']>, { $case: 'writeManifest' }>['writeManifest'],
  ) {
    const { runId, generation, step, files } = message;
    const directory = checkpointDirectory(this.assignments.at(-1)!.runDirectory, step);
    await writeManifest(directory, { runId, step, nextSequence: step * 9, config: {}, files });
    this.#send({ $case: 'checkpointWritten', checkpointWritten: { runId, generation, step, directory } });
  }
}

async function load(directory: string): Promise<Model> {
  const manifest = await readManifest(directory);
  let weights = 0;
  for await (const { name, data } of readTensors(directory, manifest)) if (name === 'weights') weights = data[0] ?? 0;
  return { step: manifest.step, weights };
}
