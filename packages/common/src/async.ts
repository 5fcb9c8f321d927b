import { WeftError } from './error.js';

/** A promise together with the functions that settle it. */
export interface Deferred<T> {
  readonly promise: Promise<T>;
  resolve(value: T | PromiseLike<T>): void;
  reject(reason: unknown): void;
}

/** `Promise.withResolvers`, which Node 20 does not have. */
export function deferred<T = void>(): Deferred<T> {
  let resolve!: Deferred<T>['resolve'];
  let reject!: Deferred<T>['reject'];
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}

/** Runs one task at a time, in the order they were given. A failure does not stop those after it. */
export class SerialQueue {
  #tail: Promise<unknown> = Promise.resolve();

  /** Resolves or rejects as `work` does, which starts when everything before it has settled. */
  run<T>(work: () => Promise<T> | T): Promise<T> {
    const result = this.#tail.then(work);
    this.#tail = result.catch(() => {});
    return result;
  }

  /** Resolves when everything given so far has settled; never rejects. */
  async idle(): Promise<void> {
    await this.#tail;
  }
}

export interface TimeoutOptions {
  readonly timeoutMs: number;
  /** Ends the wait early; the promise then rejects with `cancelled`. */
  readonly signal?: AbortSignal | undefined;
  /** The error when the time is over, made then. Default: `deadline_exceeded`, naming what was done. */
  readonly onTimeout?: (() => Error) | undefined;
  /** What is waited for, as it stands in a sentence: "joining the ring of run r". */
  readonly doing: string;
}

/**
 * Waits for `work`, at most `timeoutMs`. The work itself goes on: its caller has to end it.
 *
 * @throws `deadline_exceeded`, or what `onTimeout` makes, when the time is over; `cancelled` when the signal aborts.
 */
export async function withTimeout<T>(work: Promise<T>, options: TimeoutOptions): Promise<T> {
  const { timeoutMs, signal, doing } = options;
  const onTimeout =
    options.onTimeout ?? (() => new WeftError('deadline_exceeded', `${doing} took longer than ${timeoutMs} ms`));
  const { promise: interrupted, reject } = deferred<never>();
  const abort = () => reject(new WeftError('cancelled', `${doing} was cancelled`));
  const timer = setTimeout(() => reject(onTimeout()), timeoutMs);
  signal?.addEventListener('abort', abort, { once: true });
  if (signal?.aborted) abort();
  try {
    return await Promise.race([work, interrupted]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', abort);
  }
}

/** Resolves when `work` has settled, or after `timeoutMs`, whichever comes first, and returns which. Never rejects. */
export async function settlesWithin(work: Promise<unknown>, timeoutMs: number): Promise<boolean> {
  const { promise: late, resolve } = deferred<boolean>();
  const timer = setTimeout(() => resolve(false), timeoutMs);
  const settled = work.then(
    () => true,
    () => true,
  );
  try {
    return await Promise.race([settled, late]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Resolves after `durationMs`.
 *
 * @throws `cancelled` when `signal` aborts first.
 */
export function sleep(durationMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const cancel = () => {
      clearTimeout(timer);
      reject(new WeftError('cancelled', 'the wait was cancelled'));
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', cancel);
      resolve();
    }, durationMs);
    if (signal?.aborted) cancel();
    else signal?.addEventListener('abort', cancel, { once: true });
  });
}

export interface RetryOptions {
  /** Pause after the first failure; each later pause is twice the one before, up to `maxDelayMs`. */
  readonly firstDelayMs: number;
  /** Default: `firstDelayMs`, so that all pauses are equal. */
  readonly maxDelayMs?: number;
  /** No attempt is started once this much time has passed since the first. Default: no limit. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal | undefined;
  /** Whether another attempt can help. Default: every error is worth one. */
  readonly isRetryable?: (error: unknown) => boolean;
  /** Told of every failure that is followed by another attempt. */
  readonly onRetry?: (error: unknown, attempt: number) => void;
  /** Default: `sleep` of the system. */
  readonly sleep?: (durationMs: number, signal?: AbortSignal) => Promise<void>;
}

/**
 * Repeats `attempt` until it succeeds.
 *
 * @param attempt is given its number, from 1.
 * @throws the last error when it is not retryable or the time is over; `cancelled` when the signal aborts in a pause.
 */
export async function retry<T>(attempt: (number: number) => Promise<T>, options: RetryOptions): Promise<T> {
  const { firstDelayMs, maxDelayMs = firstDelayMs, timeoutMs = Number.POSITIVE_INFINITY, signal } = options;
  const pause = options.sleep ?? sleep;
  const endMs = performance.now() + timeoutMs;
  for (let number = 1, delayMs = firstDelayMs; ; number++, delayMs = Math.min(maxDelayMs, delayMs * 2)) {
    try {
      return await attempt(number);
    } catch (error) {
      const isLast = performance.now() + delayMs >= endMs;
      if (isLast || signal?.aborted || options.isRetryable?.(error) === false) throw error;
      options.onRetry?.(error, number);
    }
    await pause(delayMs, signal);
  }
}
