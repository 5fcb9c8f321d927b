import { WeftError } from '@weft/common';
import type { Wire } from '../link.js';
import { type RingPlace, ringName } from '../ring-place.js';
import type { ExchangeShape, ExchangeStats, ExchangeSubject, ExpertExchange, ExpertRows } from './exchange.js';
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

  async exchange(subject: ExchangeSubject, { filled_EG, rows_ECD, answer_ECD }: ExpertRows): Promise<void> {
    const { placement, groups, capacity, width } = this.#shape;
    const rooms = (placement.at(-1)?.end ?? 0) * groups;
    const block = capacity * width;
    check('counts', filled_EG, rooms);
    for (const rows of [rows_ECD, answer_ECD]) check('rows', rows, rooms * block);
    await everyOne(
      this.#callers.map((caller, index) => {
        const { first, end } = placement[index]!;
        const part = (values: Float32Array) => values.subarray(first * groups * block, end * groups * block);
        return caller.exchange(subject, {
          filled_EG: filled_EG.subarray(first * groups, end * groups),
          rows_ECD: part(rows_ECD),
          answer_ECD: part(answer_ECD),
        });
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

function check(what: string, { length }: ArrayLike<number>, expected: number): void {
  if (length === expected) return;
  throw new WeftError('invalid_argument', `the ${what} of all experts are ${expected} values, not ${length}`);
}

/** Settles only when all have, so that nobody's array is touched afterwards; rejects with the first failure. */
async function everyOne<T>(calls: readonly Promise<T>[]): Promise<readonly T[]> {
  await Promise.allSettled(calls);
  return Promise.all(calls);
}
