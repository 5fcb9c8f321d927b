import { type Clock, systemClock, WEFT_VERSION, WeftError } from '@weft/common';
import type { CoordinatorMessage, Hello, Profile, Progress, Release, WorkerMessage } from '@weft/proto';
import type { MessageStream } from '@weft/rpc';
import { processNowMs } from '@weft/telemetry';
import type { Heartbeat, StartHeartbeat } from './heartbeat.js';
import type { Send } from './messages.js';
import { WorkerRun, type WorkerRunOptions } from './worker-run.js';

const FIRST_RETRY_MS = 500;
const LONGEST_RETRY_MS = 10_000;
/** With a run in memory that a coordinator may take over. */
const LONGEST_RETRY_WITH_RUN_MS = 1000;
/** How long a worker that was asked to end waits for the end of the current step. */
const LONGEST_DRAIN_MS = 20_000;

/** A worker's end of its stream to the coordinator. */
export type CoordinatorStream = MessageStream<CoordinatorMessage, WorkerMessage>;

/** An open connection to the coordinator. */
export interface Connection {
  readonly stream: CoordinatorStream;
  /** Starts the heartbeats that fit the way the stream was opened. */
  readonly startHeartbeat: StartHeartbeat;
  /** Of the coordinator, for messages. */
  readonly address: string;
  /** Closes what carries the stream. */
  close(): void;
}

/** Options of a `Worker`. */
export interface WorkerOptions extends Omit<WorkerRunOptions, 'runId' | 'send' | 'after'> {
  readonly hello: Omit<Hello, 'version' | 'dataPlaneAddress' | 'held'>;
  /** Opens a stream to the coordinator; it may have moved since the last one. */
  readonly connect: () => Promise<Connection>;
  readonly clock?: Clock;
}

/**
 * A worker without its sockets: connects to the coordinator, trains what it is assigned, and connects again after the
 * stream ended. It keeps the state of its run meanwhile, and drops it when the next coordinator says so.
 */
export class Worker {
  readonly #options: WorkerOptions;
  readonly #clock: Clock;
  #run: WorkerRun | undefined;
  #stream: CoordinatorStream | undefined;
  /** The stream that closes once the run is over for this worker, because it was asked to end. */
  #draining: CoordinatorStream | undefined;
  /** Resolves when the runs closed so far have freed the machine. */
  #closedRuns: Promise<void> = Promise.resolve();

  constructor(options: WorkerOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  /**
   * Stays connected until `signal` aborts. Then it leaves its run after the current step.
   *
   * @throws WeftError the coordinator's refusal, when another attempt cannot help.
   */
  async run(signal: AbortSignal): Promise<void> {
    const { log, metrics } = this.#options;
    for (let failures = 0; !signal.aborted; ) {
      const { wasWelcome, error } = await this.#serveStream(signal);
      const isOver = signal.aborted || (error !== undefined && !isTransient(error));
      if (isOver || this.#run?.hold() !== true) await this.#closeRun();
      if (signal.aborted) return;
      if (error !== undefined && isOver) throw error;
      failures = wasWelcome ? 0 : failures + 1;
      const longestMs = this.#run === undefined ? LONGEST_RETRY_MS : LONGEST_RETRY_WITH_RUN_MS;
      const delayMs = Math.min(longestMs, FIRST_RETRY_MS * 2 ** failures) * (0.75 + Math.random() / 2);
      const reason = error?.message ?? 'it closed the stream';
      const inSeconds = (delayMs / 1000).toFixed(1);
      log.warn({ code: error?.code, delayMs }, `the coordinator is away (${reason}): trying again in ${inSeconds} s`);
      await this.#clock.sleep(delayMs, signal).catch(() => {});
      if (!signal.aborted) metrics.coordinatorReconnected();
    }
    await this.#closeRun();
  }

  /** Serves one stream, from hello to its end. */
  async #serveStream(signal: AbortSignal): Promise<{ wasWelcome: boolean; error: WeftError | undefined }> {
    let wasWelcome = false;
    let heartbeat: Heartbeat | undefined;
    let connection: Connection | undefined;
    const leave = () => connection && this.#leave(connection.stream);
    try {
      connection = await this.#options.connect();
      const { address, startHeartbeat, stream } = connection;
      this.#stream = stream;
      const { hello, dataPlane, log } = this.#options;
      const { address: dataPlaneAddress } = dataPlane;
      // What failed while it had no coordinator is of no use to the next one.
      if (this.#run?.held === undefined) await this.#closeRun();
      const held = this.#run?.held;
      this.#send({ $case: 'hello', hello: { ...hello, version: WEFT_VERSION, dataPlaneAddress, held } });
      // The coordinator takes it only from a worker that it knows.
      signal.addEventListener('abort', leave, { once: true });
      if (signal.aborted) leave();
      for await (const { body } of stream.messages) {
        if (body?.$case !== 'welcome') {
          this.#onMessage(body);
          continue;
        }
        wasWelcome = true;
        const { heartbeatIntervalMs: intervalMs, heartbeatToken: token } = body.welcome;
        heartbeat ??= startHeartbeat({
          workerId: hello.workerId,
          token,
          intervalMs,
          sendHeartbeat: () => {
            this.#send({ $case: 'heartbeat', heartbeat: { progress: this.#progress() } });
            this.#run?.reportTime();
          },
        });
        log.info({ address }, `worker ${hello.workerId} is connected to the coordinator at ${address}`);
      }
      return { wasWelcome, error: undefined };
    } catch (thrown) {
      return { wasWelcome, error: WeftError.from(thrown) };
    } finally {
      signal.removeEventListener('abort', leave);
      heartbeat?.stop();
      connection?.close();
      this.#stream = undefined;
    }
  }

  async #probe(addresses: readonly string[]): Promise<void> {
    const unreachable = await this.#options.dataPlane.findUnreachable(addresses);
    const reached = addresses.filter((address) => !unreachable.includes(address));
    this.#send({ $case: 'reachability', reachability: { reached } });
  }

  /** Closes the stream: at once without a run, else when the coordinator has let it go from the run. */
  #leave(stream: CoordinatorStream): void {
    if (this.#run === undefined) {
      stream.close();
      return;
    }
    this.#options.log.info(`leaves run ${this.#run.runId} after the current step`);
    this.#send({ $case: 'leaving', leaving: {} });
    this.#draining = stream;
    setTimeout(() => stream.close(), LONGEST_DRAIN_MS).unref();
  }

  readonly #send: Send = (body) => this.#stream?.send({ body });

  #onMessage(body: CoordinatorMessage['body']): void {
    if (body?.$case === 'assignment') this.#runOf(body.assignment.runId).assign(body.assignment);
    if (body?.$case === 'prepareRun') this.#runOf(body.prepareRun.runId).prepare(body.prepareRun);
    if (body?.$case === 'probe') void this.#probe(body.probe.addresses);
    if (body?.$case === 'continueGeneration') this.#generation(body.continueGeneration)?.goOn();
    if (body?.$case === 'endGeneration') this.#generation(body.endGeneration)?.endAfter(body.endGeneration.afterStep);
    if (body?.$case === 'stepDecision') this.#generation(body.stepDecision)?.decided(body.stepDecision);
    if (body?.$case === 'stopRun') this.#generation(body.stopRun)?.stopAfter(body.stopRun.afterStep);
    if (body?.$case === 'writeManifest') this.#findRun(body.writeManifest.runId)?.writeManifest(body.writeManifest);
    if (body?.$case === 'release') this.#onRelease(body.release);
    if (body?.$case === 'clockProbe')
      this.#send({ $case: 'clockReply', clockReply: { ...body.clockProbe, workerMs: processNowMs() } });
    if (body?.$case === 'askProgress') this.#send({ $case: 'progress', progress: this.#progress() });
    if (body?.$case === 'profile') this.#onProfile(body.profile);
  }

  #progress(): Progress {
    const { timer, spans } = this.#options;
    const { step, parts, lastEvent, lastEventMs } = spans.progress;
    const lastEventSeconds = (performance.now() - lastEventMs) / 1000;
    const { runId = '', generation = 0, ringOperations = 0, ringBytes = 0 } = this.#run?.progress ?? {};
    const done = { step, parts, phase: timer.bucket, lastEvent, lastEventSeconds };
    return { runId, generation, ...done, ringOperations, ringBytes };
  }

  #onRelease(release: Release): void {
    const { runId, discardState, reason } = release;
    this.#options.log.info(
      { ...release },
      `released from ${discardState ? '' : 'a generation of '}run ${runId}: ${reason}`,
    );
    this.#generation(release)?.release();
    if (!discardState || this.#findRun(runId) === undefined) return;
    const closed = this.#closeRun();
    void closed.then(() => this.#draining?.close());
  }

  /** A run that is over here has nothing to show. */
  #onProfile(profile: Profile): void {
    const run = this.#findRun(profile.runId);
    if (run !== undefined) run.profile(profile);
    else
      this.#send({
        $case: 'profilePart',
        profilePart: { profileId: profile.profileId, spans: [], leftOut: 0, isLast: true },
      });
  }

  /** The run of this name, opened in place of another where it is new. */
  #runOf(runId: string): WorkerRun {
    if (this.#run?.runId === runId) return this.#run;
    void this.#closeRun();
    this.#run = new WorkerRun({ ...this.#options, runId, send: this.#send, after: this.#closedRuns });
    return this.#run;
  }

  #closeRun(): Promise<void> {
    const run = this.#run;
    this.#run = undefined;
    const before = this.#closedRuns;
    if (run !== undefined)
      this.#closedRuns = Promise.all([before, run.close()]).then(() => {
        if (this.#run === undefined) this.#options.timer.enter('idle');
      });
    return this.#closedRuns;
  }

  #findRun(runId: string): WorkerRun | undefined {
    return this.#run?.runId === runId ? this.#run : undefined;
  }

  #generation({ runId, generation }: { readonly runId: string; readonly generation: number }) {
    return this.#findRun(runId)?.generation(generation);
  }
}

/** Whether another attempt may succeed. An `internal` error is a bug, here or in the coordinator: it would only repeat. */
function isTransient({ code }: WeftError): boolean {
  return code === 'unavailable' || code === 'deadline_exceeded' || code === 'cancelled';
}
