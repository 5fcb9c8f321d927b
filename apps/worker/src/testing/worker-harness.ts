import { DataPlane } from '@weft/collectives';
import { WeftError } from '@weft/common';
import { type RunConfig, resolveRunConfig } from '@weft/config';
import { type Assignment, type CoordinatorMessage, Role, type WorkerMessage } from '@weft/proto';
import { pairedStreams } from '@weft/rpc';
import { createLogger, SpanRecorder, WorkClock, WorkerMetrics } from '@weft/telemetry';
import { FakeClock, tinyRun, waitFor } from '@weft/testing';
import type { CoordinatorPort, GenerationPlan, SessionOptions, TrainOutcome, TrainSignals } from '@weft/training';
import { timerHeartbeat } from '../heartbeat.js';
import { Worker } from '../worker.js';
import type { Session } from '../worker-run.js';

export const RUN = 'tiny-1';

type Body<Kind extends string> = Extract<NonNullable<WorkerMessage['body']>, { $case: Kind }>;

/** A running call of `train`, whose end the test controls. */
export interface TrainCall {
  readonly plan: GenerationPlan;
  readonly link: CoordinatorPort;
  readonly signals: TrainSignals;
  readonly finish: (outcome: TrainOutcome) => void;
  readonly fail: (error: WeftError) => void;
}

/** A session without a model: the test controls its training. */
export class FakeSession implements Session {
  readonly engine = 'none';
  readonly options: SessionOptions;
  readonly calls: TrainCall[] = [];
  readonly manifests: number[] = [];
  /** Steps with which it got ready. */
  readonly warmUps: number[] = [];
  /** The configurations of its generations. */
  readonly followed: RunConfig[] = [];
  isClosed = false;
  manifestFailure: WeftError | undefined;

  constructor(options: SessionOptions) {
    this.options = options;
  }

  train(plan: GenerationPlan, _: unknown, link: CoordinatorPort, signals: TrainSignals): Promise<TrainOutcome> {
    return new Promise((finish, fail) => {
      this.calls.push({ plan, link, signals, finish, fail });
      // As the real one does when it is released between two steps.
      signals.released.addEventListener('abort', () => fail(new WeftError('cancelled', 'released')), { once: true });
    });
  }

  async follow(config: RunConfig): Promise<void> {
    this.followed.push(config);
  }

  /** What getting ready waits for. */
  warming: Promise<void> | undefined;

  async warmUp(step: number): Promise<void> {
    this.warmUps.push(step);
    await this.warming;
  }

  async writeManifest(step: number): Promise<{ directory: string; manifestSha256: string }> {
    if (this.manifestFailure !== undefined) throw this.manifestFailure;
    this.manifests.push(step);
    return { directory: `/step-${step}`, manifestSha256: `hash-${step}` };
  }

  /** What its closing waits for. */
  closing: Promise<void> | undefined;

  async close(): Promise<void> {
    await this.closing;
    this.isClosed = true;
  }
}

/** One stream of the worker, from the coordinator's end. */
export class CoordinatorEnd {
  readonly received: NonNullable<WorkerMessage['body']>[] = [];
  readonly #stream: ReturnType<typeof pairedStreams<WorkerMessage, CoordinatorMessage>>['server'];
  /** Whether the worker has closed the stream. */
  hasEnded = false;

  constructor(stream: ReturnType<typeof pairedStreams<WorkerMessage, CoordinatorMessage>>['server']) {
    this.#stream = stream;
    void this.#listen().catch(() => {});
  }

  send(body: NonNullable<CoordinatorMessage['body']>): void {
    this.#stream.send({ body });
  }

  close(error?: WeftError): void {
    this.#stream.close(error);
  }

  /** The next message of a kind that the worker sends, or has sent. */
  receive<Kind extends NonNullable<WorkerMessage['body']>['$case']>(kind: Kind, nth = 0): Promise<Body<Kind>> {
    return waitFor(`${kind} from the worker`, () => this.all(kind)[nth]);
  }

  all<Kind extends NonNullable<WorkerMessage['body']>['$case']>(kind: Kind): readonly Body<Kind>[] {
    return this.received.filter((body): body is Body<Kind> => body.$case === kind);
  }

  async #listen(): Promise<void> {
    try {
      for await (const { body } of this.#stream.messages) if (body !== undefined) this.received.push(body);
    } finally {
      this.hasEnded = true;
    }
  }
}

/** A worker with a real data plane, in-memory streams and staged sessions; the test is coordinator and trainer. */
export class WorkerHarness implements AsyncDisposable {
  readonly streams: CoordinatorEnd[] = [];
  readonly sessions: FakeSession[] = [];
  readonly clock = new FakeClock();
  /** What the training of sessions would record with. */
  readonly spans = new SpanRecorder();
  /** The most sessions that were open at a time. */
  openAtOnce = 0;
  /** How often it tried to reach the coordinator. */
  attempts = 0;
  /** Called with every session. */
  onOpen = (_: FakeSession) => {};
  /** Called with every attempt. */
  onConnect = () => {};
  readonly dataPlane: DataPlane;
  readonly #leaving = new AbortController();
  /** Resolves when the worker has ended. @throws WeftError the coordinator's refusal. */
  readonly done: Promise<void>;
  /** When set, sessions cannot be opened. */
  openFailure: WeftError | undefined;
  /** When set, the coordinator cannot be reached. */
  connectFailure: WeftError | undefined;

  static async open(): Promise<WorkerHarness> {
    return new WorkerHarness(await DataPlane.listen());
  }

  private constructor(dataPlane: DataPlane) {
    this.dataPlane = dataPlane;
    const worker = new Worker({
      hello: {
        workerId: 'w1',
        hostName: 'host',
        processId: 7,
        device: 'none',
        metricsAddress: '',
        role: Role.ROLE_RANK,
        bf16Backends: ['tensorflow'],
        memory: undefined,
        peak: undefined,
      },
      connect: async () => {
        this.attempts++;
        this.onConnect();
        if (this.connectFailure !== undefined) throw this.connectFailure;
        const { client, server } = pairedStreams<WorkerMessage, CoordinatorMessage>();
        this.streams.push(new CoordinatorEnd(server));
        return { stream: client, startHeartbeat: timerHeartbeat, address: 'memory', close: () => client.close() };
      },
      dataPlane,
      openSession: async (options) => {
        if (this.openFailure !== undefined) throw this.openFailure;
        const session = new FakeSession(options);
        this.onOpen(session);
        this.sessions.push(session);
        const open = this.sessions.filter(({ isClosed }) => !isClosed).length;
        this.openAtOnce = Math.max(this.openAtOnce, open);
        return session;
      },
      openExperts: async () => {
        throw new WeftError('internal', 'this stage has no experts');
      },
      threads: undefined,
      metrics: new WorkerMetrics(),
      timer: new WorkClock(),
      spans: this.spans,
      log: createLogger({ role: 'worker', level: 'silent' }),
      clock: this.clock,
    });
    this.done = worker.run(this.#leaving.signal);
    this.done.catch(() => {});
  }

  /** The worker's latest stream, welcomed. */
  async openStream(nth = 0): Promise<CoordinatorEnd> {
    const desk = await waitFor(`stream ${nth}`, () => this.streams[nth]);
    await desk.receive('hello');
    desk.send({
      $case: 'welcome',
      welcome: { coordinatorVersion: '0.1.0', heartbeatIntervalMs: 20, heartbeatToken: 't' },
    });
    return desk;
  }

  /** An assignment; by default of this worker alone, from the beginning. */
  assignment(changes: Partial<Assignment> = {}): { $case: 'assignment'; assignment: Assignment } {
    const assignment: Assignment = {
      runId: RUN,
      generation: 1,
      rank: 0,
      ringAddresses: [this.dataPlane.address],
      ringToken: 'secret',
      configJson: JSON.stringify(tinyConfig),
      runDirectory: '/runs/tiny-1',
      firstStep: 1,
      trainedToStep: 0,
      state: { $case: 'fresh', fresh: true },
      role: Role.ROLE_RANK,
      expertAddresses: [],
      newcomers: [],
      expertCopies: [],
      expertHolders: [],
      ...changes,
    };
    return { $case: 'assignment', assignment };
  }

  /** The trainer's `nth` call of a session. */
  call(nth = 0, session = 0): Promise<TrainCall> {
    return waitFor(`train call ${nth} of session ${session}`, () => this.sessions[session]?.calls[nth]);
  }

  leave(): void {
    this.#leaving.abort();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.leave();
    // Nobody lets it go from its run.
    for (const stream of this.streams) stream.close();
    await this.done.catch(() => {});
    await this.dataPlane.close();
  }
}

export const tinyConfig = resolveRunConfig(tinyRun);

export const vote = (step: number) =>
  ({ step, loss: 2, gradNorm: 1, finite: true, sequenceDigest: '00', lossTokens: 9 }) as const;
