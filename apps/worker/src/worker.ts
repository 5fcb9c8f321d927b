import { type Clock, systemClock, WEFT_VERSION, WeftError } from '@weft/common';
import type { Assignment, CoordinatorMessage, Hello, Release, WorkerMessage } from '@weft/proto';
import type { MessageStream } from '@weft/rpc';
import type { Heartbeat, StartHeartbeat } from './heartbeat.js';
import { WorkerRun, type WorkerRunOptions } from './worker-run.js';

const FIRST_RETRY_MS = 500;
const LONGEST_RETRY_MS = 10_000;

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
  readonly hello: Omit<Hello, 'version' | 'dataPlaneAddress'>;
  /** Opens a stream to the coordinator; it may have moved since the last one. */
  readonly connect: () => Promise<Connection>;
  readonly clock?: Clock;
}

/**
 * A worker without its sockets: connects to the coordinator, trains what it is assigned, and connects again after the
 * stream ended. A run ends with the stream on which it was assigned.
 */
export class Worker {
  readonly #options: WorkerOptions;
  readonly #clock: Clock;
  #run: WorkerRun | undefined;
  /** Resolves when the runs closed so far have freed the machine. */
  #closedRuns: Promise<void> = Promise.resolve();

  constructor(options: WorkerOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  /**
   * Stays connected until `signal` aborts.
   *
   * @throws WeftError the coordinator's refusal, when another attempt cannot help.
   */
  async run(signal: AbortSignal): Promise<void> {
    const { log, metrics } = this.#options;
    for (let failures = 0; !signal.aborted; ) {
      const { wasWelcome, error } = await this.#serveStream(signal);
      await this.#closeRun();
      if (signal.aborted) return;
      if (error !== undefined && !isTransient(error)) throw error;
      failures = wasWelcome ? 0 : failures + 1;
      const delayMs = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** failures) * (0.75 + Math.random() / 2);
      const reason = error?.message ?? 'it closed the stream';
      const inSeconds = (delayMs / 1000).toFixed(1);
      log.warn({ code: error?.code, delayMs }, `the coordinator is away (${reason}): trying again in ${inSeconds} s`);
      await this.#clock.sleep(delayMs, signal).catch(() => {});
      if (!signal.aborted) metrics.coordinatorReconnected();
    }
  }

  /** Serves one stream, from hello to its end. */
  async #serveStream(signal: AbortSignal): Promise<{ wasWelcome: boolean; error: WeftError | undefined }> {
    let wasWelcome = false;
    let heartbeat: Heartbeat | undefined;
    let connection: Connection | undefined;
    const leave = () => connection?.stream.close();
    try {
      connection = await this.#options.connect();
      const { address, startHeartbeat, stream } = connection;
      signal.addEventListener('abort', leave, { once: true });
      if (signal.aborted) leave();
      const send = (body: NonNullable<WorkerMessage['body']>) => stream.send({ body });
      const { hello, dataPlane, log } = this.#options;
      send({ $case: 'hello', hello: { ...hello, version: WEFT_VERSION, dataPlaneAddress: dataPlane.address } });
      for await (const { body } of stream.messages) {
        if (body?.$case !== 'welcome') {
          this.#onMessage(body, send);
          continue;
        }
        wasWelcome = true;
        const { heartbeatIntervalMs: intervalMs } = body.welcome;
        heartbeat ??= startHeartbeat({
          workerId: hello.workerId,
          intervalMs,
          sendHeartbeat: () => send({ $case: 'heartbeat', heartbeat: {} }),
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
    }
  }

  #onMessage(body: CoordinatorMessage['body'], send: WorkerRunOptions['send']): void {
    if (body?.$case === 'assignment') this.#onAssignment(body.assignment, send);
    if (body?.$case === 'stepDecision') this.#generation(body.stepDecision)?.decided(body.stepDecision);
    if (body?.$case === 'stopRun') this.#generation(body.stopRun)?.stopAfter(body.stopRun.afterStep);
    if (body?.$case === 'writeManifest') this.#findRun(body.writeManifest.runId)?.writeManifest(body.writeManifest);
    if (body?.$case === 'release') this.#onRelease(body.release);
  }

  #onAssignment(assignment: Assignment, send: WorkerRunOptions['send']): void {
    if (this.#run?.runId !== assignment.runId) this.#openRun(assignment.runId, send);
    this.#run?.assign(assignment);
  }

  #onRelease(release: Release): void {
    const { runId, discardState, reason } = release;
    this.#options.log.info(
      { ...release },
      `released from ${discardState ? '' : 'a generation of '}run ${runId}: ${reason}`,
    );
    this.#generation(release)?.release();
    if (discardState && this.#findRun(runId) !== undefined) void this.#closeRun();
  }

  #openRun(runId: string, send: WorkerRunOptions['send']): void {
    void this.#closeRun();
    this.#run = new WorkerRun({ ...this.#options, runId, send, after: this.#closedRuns });
  }

  #closeRun(): Promise<void> {
    const run = this.#run;
    this.#run = undefined;
    const before = this.#closedRuns;
    if (run !== undefined) this.#closedRuns = Promise.all([before, run.close()]).then(() => {});
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
