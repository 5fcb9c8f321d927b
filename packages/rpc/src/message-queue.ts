import type { WeftError } from '@weft/common';

/**
 * Messages pushed by one side and iterated by one consumer on the other. It has no limit, because control messages are small
 * and few. After `end` the remaining messages are delivered, then the iteration ends, or throws the error if there is one.
 */
export class MessageQueue<T> implements AsyncIterable<T> {
  #waiting: T[] = [];
  #ended = false;
  #error: WeftError | undefined;
  #wake: () => void = () => {};

  push(message: T): void {
    if (this.#ended) return;
    this.#waiting.push(message);
    this.#wake();
  }

  end(error?: WeftError): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#error = error;
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncIterator<T> {
    for (;;) {
      const batch = this.#waiting;
      this.#waiting = [];
      yield* batch;
      if (this.#waiting.length > 0) continue;
      if (this.#error !== undefined) throw this.#error;
      if (this.#ended) return;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}
