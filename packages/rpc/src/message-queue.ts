import type { WeftError } from '@weft/common';

/**
 * Messages pushed by one side, iterated by one consumer on the other. It holds what is not yet consumed,
 * without limit: control messages are small and few. After `end` the rest is delivered, then the iteration ends,
 * with the error where there is one.
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
