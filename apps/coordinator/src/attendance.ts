import { type Clock, WeftError } from '@weft/common';
import type { ClusterEvent } from '@weft/coordination';
import type { DecisionQueue } from './decision-queue.js';
import { receiveHello, refuseOtherVersion } from './receive-hello.js';
import { eventOf, identityOf, welcome } from './wire.js';
import type { WorkerStream, WorkerStreams } from './worker-streams.js';

export interface AttendanceOptions {
  readonly queue: DecisionQueue;
  readonly streams: WorkerStreams;
  readonly dispatch: (event: ClusterEvent) => void;
  readonly clock: Clock;
  /** What workers are told to beat at. */
  readonly heartbeatIntervalMs: number;
}

/** Lets workers in and hears them. */
export class Attendance {
  readonly #options: AttendanceOptions;

  constructor(options: AttendanceOptions) {
    this.#options = options;
  }

  /**
   * One worker, from its hello until its stream ends.
   *
   * @throws `version_mismatch` for a worker of another version, `invalid_argument` when it does not say hello.
   */
  async attend(stream: WorkerStream): Promise<void> {
    const { clock, dispatch, heartbeatIntervalMs, streams } = this.#options;
    const messages = stream.messages[Symbol.asyncIterator]();
    const hello = await receiveHello(messages, clock);
    const { workerId } = hello;
    refuseOtherVersion(hello.version, `worker ${workerId} on ${hello.hostName}`);
    streams.add(workerId, stream);
    stream.send(welcome(heartbeatIntervalMs));
    dispatch({ kind: 'workerConnected', worker: identityOf(hello) });
    let reason = 'it left';
    try {
      for (let next = await messages.next(); next.done !== true; next = await messages.next()) {
        const event = eventOf(workerId, next.value);
        if (event !== undefined && streams.isCurrent(workerId, stream)) dispatch(event);
      }
    } catch (thrown) {
      reason = WeftError.from(thrown).message;
    }
    if (streams.remove(workerId, stream)) dispatch({ kind: 'workerDisconnected', workerId, reason });
  }

  /** A sign of life that did not come on the worker's stream. @throws `not_found` when the worker does not attend. */
  beat(workerId: string): void {
    const { dispatch, queue } = this.#options;
    if (!queue.state.workers.has(workerId)) throw new WeftError('not_found', `worker ${workerId} does not attend`);
    dispatch({ kind: 'heartbeat', workerId });
  }
}
