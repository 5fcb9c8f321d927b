import { WeftError } from '@weft/common';
import type { Wire } from '../link.js';
import { type RingPlace, ringName } from '../ring-place.js';
import type { ExchangeShape, ExchangeStats, ExchangeSubject, ExpertExchange } from './exchange.js';
import { ExpertCaller } from './expert-caller.js';

export interface ExpertCallersOptions {
  readonly place: RingPlace;
  readonly shape: ExchangeShape;
  /** By expert worker. */
  readonly wires: readonly Wire[];
  readonly answerTimeoutMs: number;
  readonly signal?: AbortSignal | undefined;
  readonly onClose?: () => void;
}

/** A rank's connections to all expert workers: each gets the rows of its own experts, straight from the caller's array. */
export class ExpertCallers implements ExpertExchange {
  readonly #callers: readonly ExpertCaller[];
  readonly #shape: ExchangeShape;
  readonly #name: string;
  readonly #stopListening: () => void;
  readonly #onClose: () => void;

  constructor({ place, shape, wires, answerTimeoutMs, signal, onClose = () => {} }: ExpertCallersOptions) {
    this.#shape = shape;
    this.#name = ringName(place);
    this.#onClose = onClose;
    // With one worker a step cannot end: the calls to the others fail for the same reason.
    const onFailure = (error: WeftError) => this.#fail(error);
    this.#callers = wires.map(
      (wire, expertWorker) => new ExpertCaller({ place, expertWorker, shape, wire, answerTimeoutMs, onFailure }),
    );
    const abort = () =>
      this.#fail(new WeftError('cancelled', `the exchange with the experts of ${this.#name} was cancelled`));
    signal?.addEventListener('abort', abort, { once: true });
    this.#stopListening = () => signal?.removeEventListener('abort', abort);
    if (signal?.aborted) abort();
  }

  get stats(): ExchangeStats {
    const stats = this.#callers.map((caller) => caller.stats);
    const total = (of: keyof ExchangeStats) => stats.reduce((sum, each) => sum + each[of], 0);
    return { bytesSent: total('bytesSent'), bytesReceived: total('bytesReceived') };
  }

  async exchange(subject: ExchangeSubject, rows_ECD: Float32Array, answer_ECD: Float32Array): Promise<void> {
    const { placement, capacity, width } = this.#shape;
    const length = (placement.at(-1)?.end ?? 0) * capacity * width;
    for (const { length: given } of [rows_ECD, answer_ECD])
      if (given !== length)
        throw new WeftError('invalid_argument', `the rows of all experts are ${length} values, not ${given}`);
    await everyOne(
      this.#callers.map((caller, index) => {
        const { first, end } = placement[index]!;
        const part = (values: Float32Array) => values.subarray(first * capacity * width, end * capacity * width);
        return caller.exchange(subject, part(rows_ECD), part(answer_ECD));
      }),
    );
  }

  squaredNorms(step: number): Promise<readonly number[]> {
    return everyOne(this.#callers.map((caller) => caller.squaredNorm(step)));
  }

  async close(): Promise<void> {
    this.#stopListening();
    this.#fail(new WeftError('cancelled', `the exchange with the experts of ${this.#name} is closed`));
    this.#onClose();
  }

  #fail(error: WeftError): void {
    for (const caller of this.#callers) caller.fail(error);
  }
}

/** Settles only when all have, so that nobody's array is touched afterwards; rejects with the first failure. */
async function everyOne<T>(calls: readonly Promise<T>[]): Promise<readonly T[]> {
  await Promise.allSettled(calls);
  return Promise.all(calls);
}
