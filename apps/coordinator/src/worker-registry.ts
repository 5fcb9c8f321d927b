import { type Clock, WeftError } from '@weft/common';
import type { ClusterEvent } from '@weft/coordination';
import type { CoordinatorMessage, Hello, WorkerMessage } from '@weft/proto';
import type { MessageStream } from '@weft/rpc';
import type { DecisionQueue } from './decision-queue.js';
import { refuseOtherVersion } from './request-parsing.js';
import { eventFromMessage, identityFromHello, welcomeMessage } from './wire.js';

const HELLO_TIMEOUT_MS = 10_000;

type WorkerStream = MessageStream<WorkerMessage, CoordinatorMessage>;

interface WorkerRegistryOptions {
  readonly queue: DecisionQueue;
  readonly streams: WorkerStreams;
  readonly dispatch: (event: ClusterEvent) => void;
  readonly clock: Clock;
  /** The interval of heartbeats that workers get with the welcome. */
  readonly heartbeatIntervalMs: number;
}

/** Accepts workers and turns their messages into events. */
export class WorkerRegistry {
  readonly #options: WorkerRegistryOptions;

  constructor(options: WorkerRegistryOptions) {
    this.#options = options;
  }

  /**
   * Serves one worker, from its hello until its stream ends.
   *
   * @throws WeftError `version_mismatch` for a worker of another version, `invalid_argument` when its first message is not
   *   a hello, `deadline_exceeded` when none comes.
   */
  async connect(stream: WorkerStream): Promise<void> {
    const { clock, dispatch, heartbeatIntervalMs, streams } = this.#options;
    const messages = stream.messages[Symbol.asyncIterator]();
    const hello = await receiveHello(messages, clock);
    const { workerId } = hello;
    refuseOtherVersion(hello.version, `worker ${workerId} on ${hello.hostName}`);
    streams.add(workerId, stream);
    stream.send(welcomeMessage(heartbeatIntervalMs));
    dispatch({ kind: 'workerConnected', worker: identityFromHello(hello) });
    let reason = 'it left';
    try {
      for (let next = await messages.next(); next.done !== true; next = await messages.next()) {
        const event = eventFromMessage(workerId, next.value);
        if (event !== undefined && streams.isCurrent(workerId, stream)) dispatch(event);
      }
    } catch (thrown) {
      reason = WeftError.from(thrown).message;
    }
    if (streams.remove(workerId, stream)) dispatch({ kind: 'workerDisconnected', workerId, reason });
  }

  /** A heartbeat that did not come on the worker's stream. @throws WeftError `not_found` when the worker is not connected. */
  heartbeat(workerId: string): void {
    const { dispatch, queue } = this.#options;
    if (!queue.state.workers.has(workerId)) throw new WeftError('not_found', `worker ${workerId} is not connected`);
    dispatch({ kind: 'heartbeat', workerId });
  }
}

async function receiveHello(messages: AsyncIterator<WorkerMessage>, clock: Clock): Promise<Hello> {
  const timeout = new AbortController();
  // Not `withTimeout`, because tests control the coordinator's clock.
  const expired = clock.sleep(HELLO_TIMEOUT_MS, timeout.signal).then(() => {
    throw new WeftError('deadline_exceeded', `no hello came within ${HELLO_TIMEOUT_MS / 1000} s`);
  });
  expired.catch(() => {});
  try {
    const { value, done } = await Promise.race([messages.next(), expired]);
    if (done === true || value.body?.$case !== 'hello' || value.body.hello.workerId === '')
      throw new WeftError('invalid_argument', 'the first message of a worker must be a hello with its id');
    return value.body.hello;
  } finally {
    timeout.abort();
  }
}

/** The open streams, by worker. */
export class WorkerStreams {
  readonly #streams = new Map<string, WorkerStream>();

  /** Makes a stream the worker's current one; an older one of the same worker is closed. */
  add(workerId: string, stream: WorkerStream): void {
    this.#streams.get(workerId)?.close();
    this.#streams.set(workerId, stream);
  }

  /** Whether it was the worker's current stream, and not an older one. */
  remove(workerId: string, stream: WorkerStream): boolean {
    return this.isCurrent(workerId, stream) && this.#streams.delete(workerId);
  }

  isCurrent(workerId: string, stream: WorkerStream): boolean {
    return this.#streams.get(workerId) === stream;
  }

  send(workerId: string, message: CoordinatorMessage): void {
    this.#streams.get(workerId)?.send(message);
  }

  close(workerId: string, error?: WeftError): void {
    const stream = this.#streams.get(workerId);
    this.#streams.delete(workerId);
    stream?.close(error);
  }

  closeAll(error: WeftError): void {
    for (const workerId of [...this.#streams.keys()]) this.close(workerId, error);
  }
}
