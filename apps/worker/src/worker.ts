import { type Clock, systemClock, WEFT_VERSION, WeftError } from '@weft/common';
import type { Assignment, CoordinatorMessage, Hello, Release, WorkerMessage } from '@weft/proto';
import type { MessageStream } from '@weft/rpc';
import type { Heart, StartHeart } from './heart.js';
import { RunOnWorker, type RunOnWorkerOptions } from './run-on-worker.js';

const FIRST_RETRY_MS = 500;
const LONGEST_RETRY_MS = 10_000;

/** A worker's end of its stream to the coordinator. */
export type CoordinatorStream = MessageStream<CoordinatorMessage, WorkerMessage>;

export interface Connection {
  readonly stream: CoordinatorStream;
  /** The heart that fits the way the stream was opened. */
  readonly startHeart: StartHeart;
  /** Whom it leads to, for people. */
  readonly address: string;
  /** Lets go of what carries the stream. */
  close(): void;
}

export interface WorkerOptions extends Omit<RunOnWorkerOptions, 'runId' | 'send' | 'after'> {
  readonly hello: Omit<Hello, 'version' | 'dataPlaneAddress'>;
  /** Opens a stream to wherever the coordinator is now. */
  readonly connect: () => Promise<Connection>;
  readonly clock?: Clock;
}

/**
 * A worker without its sockets: attends, trains what it is assigned, and attends again when the coordinator was away.
 * A run lives no longer than the stream it was assigned on.
 */
export class Worker {
  readonly #options: WorkerOptions;
  readonly #clock: Clock;
  #run: RunOnWorker | undefined;
  /** Resolves when the runs dropped so far are off the machine. */
  #dropped: Promise<void> = Promise.resolve();

  constructor(options: WorkerOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  /**
   * Attends until `signal` aborts.
   *
   * @throws what the coordinator refuses the worker with, when trying again cannot help.
   */
  async run(signal: AbortSignal): Promise<void> {
    const { log, metrics } = this.#options;
    for (let failures = 0; !signal.aborted; ) {
      const { wasWelcome, error } = await this.#attend(signal);
      await this.#drop();
      if (signal.aborted) return;
      if (error !== undefined && !isPassing(error)) throw error;
      failures = wasWelcome ? 0 : failures + 1;
      const delayMs = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** failures) * (0.75 + Math.random() / 2);
      const reason = error?.message ?? 'it closed the stream';
      const inSeconds = (delayMs / 1000).toFixed(1);
      log.warn({ code: error?.code, delayMs }, `the coordinator is away (${reason}): trying again in ${inSeconds} s`);
      await this.#clock.sleep(delayMs, signal).catch(() => {});
      if (!signal.aborted) metrics.coordinatorReconnected();
    }
  }

  /** One stream, from hello to its end. */
  async #attend(signal: AbortSignal): Promise<{ wasWelcome: boolean; error: WeftError | undefined }> {
    let wasWelcome = false;
    let heart: Heart | undefined;
    let connection: Connection | undefined;
    const leave = () => connection?.stream.close();
    try {
      connection = await this.#options.connect();
      const { address, startHeart, stream } = connection;
      signal.addEventListener('abort', leave, { once: true });
      if (signal.aborted) leave();
      const send = (body: NonNullable<WorkerMessage['body']>) => stream.send({ body });
      const { hello, dataPlane, log } = this.#options;
      send({ $case: 'hello', hello: { ...hello, version: WEFT_VERSION, dataPlaneAddress: dataPlane.address } });
      for await (const { body } of stream.messages) {
        if (body?.$case !== 'welcome') {
          this.#hear(body, send);
          continue;
        }
        wasWelcome = true;
        const { heartbeatIntervalMs: intervalMs } = body.welcome;
        heart ??= startHeart({
          workerId: hello.workerId,
          intervalMs,
          beat: () => send({ $case: 'heartbeat', heartbeat: {} }),
        });
        log.info({ address }, `worker ${hello.workerId} attends the coordinator at ${address}`);
      }
      return { wasWelcome, error: undefined };
    } catch (thrown) {
      return { wasWelcome, error: WeftError.from(thrown) };
    } finally {
      signal.removeEventListener('abort', leave);
      heart?.stop();
      connection?.close();
    }
  }

  #hear(body: CoordinatorMessage['body'], send: RunOnWorkerOptions['send']): void {
    if (body?.$case === 'assignment') this.#assigned(body.assignment, send);
    if (body?.$case === 'stepDecision') this.#generation(body.stepDecision)?.decided(body.stepDecision);
    if (body?.$case === 'stopRun') this.#generation(body.stopRun)?.stopAfter(body.stopRun.afterStep);
    if (body?.$case === 'writeManifest') this.#runOf(body.writeManifest.runId)?.writeManifest(body.writeManifest);
    if (body?.$case === 'release') this.#released(body.release);
  }

  #assigned(assignment: Assignment, send: RunOnWorkerOptions['send']): void {
    if (this.#run?.runId !== assignment.runId) this.#begin(assignment.runId, send);
    this.#run?.assign(assignment);
  }

  #released(release: Release): void {
    const { runId, discardState, reason } = release;
    this.#options.log.info(
      { ...release },
      `${discardState ? 'let go of' : 'released from a generation of'} run ${runId}: ${reason}`,
    );
    this.#generation(release)?.release();
    if (discardState && this.#runOf(runId) !== undefined) void this.#drop();
  }

  #begin(runId: string, send: RunOnWorkerOptions['send']): void {
    void this.#drop();
    this.#run = new RunOnWorker({ ...this.#options, runId, send, after: this.#dropped });
  }

  #drop(): Promise<void> {
    const run = this.#run;
    this.#run = undefined;
    const before = this.#dropped;
    if (run !== undefined) this.#dropped = Promise.all([before, run.drop()]).then(() => {});
    return this.#dropped;
  }

  #runOf(runId: string): RunOnWorker | undefined {
    return this.#run?.runId === runId ? this.#run : undefined;
  }

  #generation({ runId, generation }: { readonly runId: string; readonly generation: number }) {
    return this.#runOf(runId)?.generation(generation);
  }
}

/** Whether the same attempt may go well later. */
function isPassing({ code }: WeftError): boolean {
  return code === 'unavailable' || code === 'deadline_exceeded' || code === 'cancelled' || code === 'internal';
}
