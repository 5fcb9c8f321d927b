import { deferred } from '@weft/common';
import type { ByteSink, Receiver, Sender } from './duplex.js';

/** Sends a view; resolves when its memory may be reused, and never if the connection breaks. */
export function writeFrom(sender: Sender, bytes: Uint8Array): Promise<void> {
  const { promise, resolve } = deferred();
  sender.write(bytes, resolve);
  return promise;
}

/**
 * Fills the whole of `target` with the next bytes; those that came before the connection closed are still read.
 *
 * @param gone rejects when nothing more can come
 */
export async function readInto(receiver: Receiver, target: Uint8Array, gone: Promise<never>): Promise<void> {
  if (target.length === 0) return;
  const filling = new Filling(target);
  receiver.receive(filling);
  if (!filling.isDone) await Promise.race([filling.done.promise, gone]);
}

/** Takes as many bytes as the target has. */
class Filling implements ByteSink {
  readonly done = deferred();
  readonly #target: Uint8Array;
  #filled = 0;

  constructor(target: Uint8Array) {
    this.#target = target;
  }

  get isDone(): boolean {
    return this.#filled === this.#target.length;
  }

  target(): Uint8Array | undefined {
    return this.isDone ? undefined : this.#target.subarray(this.#filled);
  }

  onBytes(count: number): void {
    this.#filled += count;
    if (this.isDone) this.done.resolve();
  }
}
