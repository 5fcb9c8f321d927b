import type { WeftError } from '@weft/common';
import { MessageQueue } from './message-queue.js';

/**
 * One end of a long-lived conversation, over a socket or in memory. Messages arrive whole, once and in order. When either
 * end closes, both directions are over.
 */
export interface MessageStream<In, Out> {
  /** Queues a message; never throws and never waits. After the end it is dropped, and `closed` has the reason. */
  send(message: Out): void;
  /**
   * The messages of the other end, for one consumer. After the end, messages that have arrived are still delivered; then the
   * iteration ends, or throws the error of `closed`.
   */
  readonly messages: AsyncIterable<In>;
  /**
   * Ends the conversation after everything sent. A server's error reaches the client whole (code, message, hint). A client's
   * error is not sent: the server gets `unavailable`, as if the client had died. Closing again does nothing.
   */
  close(error?: WeftError): void;
  /** Resolves when the conversation is over: undefined after a clean close by either end, else the reason. */
  readonly closed: Promise<WeftError | undefined>;
}

/** Carries a stream: a gRPC call, or the memory of this process. */
export interface Carrier<Out> {
  send(message: Out): void;
  /** Starts the end; the carrier calls `EndOfStream.ended` when it is reached. */
  close(error: WeftError | undefined): void;
}

/** The part of a `MessageStream` that is the same for every carrier. */
export class EndOfStream<In, Out> implements MessageStream<In, Out> {
  readonly messages: AsyncIterable<In>;
  readonly closed: Promise<WeftError | undefined>;
  readonly #carrier: Carrier<Out>;
  readonly #queue = new MessageQueue<In>();
  #resolveClosed: (error: WeftError | undefined) => void = () => {};
  #state: 'open' | 'closing' | 'ended' = 'open';
  #ownError: WeftError | undefined;

  /** @param carry gets this end, to call `received` and `ended` */
  constructor(carry: (end: EndOfStream<In, Out>) => Carrier<Out>) {
    this.messages = this.#queue;
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
    this.#carrier = carry(this);
  }

  send(message: Out): void {
    if (this.#state === 'open') this.#carrier.send(message);
  }

  close(error?: WeftError): void {
    if (this.#state !== 'open') return;
    this.#state = 'closing';
    this.#ownError = error;
    this.#queue.end(error);
    this.#carrier.close(error);
  }

  /** Called by the carrier with a message. */
  received(message: In): void {
    this.#queue.push(message);
  }

  /** Called by the carrier when it is done: the other end closed, it broke, or `close` has completed. */
  ended(error?: WeftError): void {
    if (this.#state === 'ended') return;
    this.#state = 'ended';
    const reason = this.#ownError ?? error;
    this.#queue.end(reason);
    this.#resolveClosed(reason);
  }
}
