import { WeftError } from '@weft/common';

/** An append that waits to be durable: its lines, and the last of its sequences. */
export interface Append<T> {
  readonly text: T;
  readonly lastSequence: number;
}

interface Pending<T> extends Append<T> {
  readonly resolve: (lastSequence: number) => void;
  readonly reject: (error: WeftError) => void;
}

/** What an adapter gives to its `AppendQueue`. */
export interface AppendQueueOptions<T> {
  /** Names the log in messages: `the event log …`. */
  readonly name: string;
  readonly lastSequence: number;
  /** The text of records; throws a TypeError for values that are not JSON. */
  readonly format: (firstSequence: number, records: readonly unknown[]) => T;
  /**
   * Makes appends durable, all or none, after the record `expectedSequence`. One call at a time.
   *
   * @throws WeftError when none of them is durable.
   */
  readonly write: (expectedSequence: number, appends: readonly Append<T>[]) => Promise<void>;
}

/** Shared by the event logs: checks the sequence that each append expects, and writes all waiting appends at once, in order. */
export class AppendQueue<T> {
  readonly #options: AppendQueueOptions<T>;
  #lastSequence: number;
  #pending: Pending<T>[] = [];
  #writing: Promise<void> | undefined;
  /** The last sequence of the batch that is being written. */
  #inFlight: number | undefined;
  #failure: WeftError | undefined;

  constructor(options: AppendQueueOptions<T>) {
    this.#options = options;
    this.#lastSequence = options.lastSequence;
  }

  /** The last sequence that is durable. */
  get lastSequence(): number {
    return this.#lastSequence;
  }

  async append(expectedSequence: number, records: readonly unknown[]): Promise<number> {
    if (this.#failure !== undefined) throw this.#failure;
    const last = this.#pending.at(-1)?.lastSequence ?? this.#inFlight ?? this.#lastSequence;
    if (expectedSequence !== last) throw wrongSequence(this.#options.name, last, expectedSequence);
    if (records.length === 0) return last;
    const text = this.#format(last + 1, records);
    return new Promise((resolve, reject) => {
      this.#pending.push({ text, lastSequence: last + records.length, resolve, reject });
      this.#writing ??= this.#writeAll().finally(() => {
        this.#writing = undefined;
      });
    });
  }

  /** Refuses every later append. */
  fail(error: WeftError): void {
    this.#failure ??= error;
  }

  /** Takes no more appends and waits for the current write. Returns false when it was closed already. */
  async close(): Promise<boolean> {
    await this.#writing;
    if (this.#failure?.code === 'cancelled') return false;
    this.#failure = new WeftError('cancelled', `${this.#options.name} is closed`);
    return true;
  }

  async #writeAll(): Promise<void> {
    while (this.#pending.length > 0) {
      const batch = this.#pending;
      this.#pending = [];
      this.#inFlight = batch.at(-1)?.lastSequence;
      try {
        await this.#options.write(this.#lastSequence, batch);
        this.#lastSequence = this.#inFlight ?? this.#lastSequence;
        for (const { lastSequence, resolve } of batch) resolve(lastSequence);
      } catch (thrown) {
        const error = WeftError.from(thrown);
        for (const { reject } of [...batch, ...this.#pending]) reject(error);
        this.#pending = [];
      }
      this.#inFlight = undefined;
    }
  }

  #format(firstSequence: number, records: readonly unknown[]): T {
    try {
      return this.#options.format(firstSequence, records);
    } catch (cause) {
      const reason = WeftError.from(cause).message;
      throw new WeftError('invalid_argument', `a record for ${this.#options.name} is not JSON: ${reason}`, { cause });
    }
  }
}

/** The error of an append that expected another last sequence. */
export const wrongSequence = (name: string, last: number, expected: number) =>
  new WeftError('failed_precondition', `${name} stands at ${last}, but the writer expected ${expected}`, {
    hint: 'read the log again before writing',
  });
