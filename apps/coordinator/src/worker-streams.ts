import type { WeftError } from '@weft/common';
import type { CoordinatorMessage, WorkerMessage } from '@weft/proto';
import type { MessageStream } from '@weft/rpc';

export type WorkerStream = MessageStream<WorkerMessage, CoordinatorMessage>;

/** The open streams, by worker. */
export class WorkerStreams {
  readonly #streams = new Map<string, WorkerStream>();

  /** The stream a worker has now; an older one of the same worker is closed. */
  add(workerId: string, stream: WorkerStream): void {
    this.#streams.get(workerId)?.close();
    this.#streams.set(workerId, stream);
  }

  /** Whether it still was the worker's stream, and not an older one. */
  remove(workerId: string, stream: WorkerStream): boolean {
    return this.#streams.get(workerId) === stream && this.#streams.delete(workerId);
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
