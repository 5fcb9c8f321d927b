import { sleep, WeftError } from '@weft/common';
import { RefusedRequest } from './failures.js';

const FIRST_DELAY_MS = 200;
const LONGEST_DELAY_MS = 20_000;
/** A server that asks for a longer pause is asked again after this one. */
const LONGEST_RETRY_AFTER_MS = 120_000;

export interface RetryOptions {
  /** No attempt begins once the pauses come to this much. */
  readonly patienceMs: number;
  readonly signal?: AbortSignal | undefined;
  readonly onRetry?: (error: WeftError, delayMs: number) => void;
  /** Default: those of the system. */
  readonly pause?: (durationMs: number, signal?: AbortSignal) => Promise<void>;
  readonly random?: () => number;
}

/**
 * Repeats a request that failed with `unavailable` or `deadline_exceeded`. Pauses double up to 20 s, and half of each is left
 * to chance, so that many workers do not come back at once. A server that names a time with `Retry-After` gets it.
 *
 * @throws the last error, with the number of attempts in its sentence
 */
export async function withRetries<T>(attempt: () => Promise<T>, options: RetryOptions): Promise<T> {
  const { patienceMs, signal, onRetry, pause = sleep, random = Math.random } = options;
  let pausedMs = 0;
  for (let number = 1; ; number++) {
    let error: WeftError;
    try {
      return await attempt();
    } catch (thrown) {
      error = WeftError.from(thrown);
    }
    if (signal?.aborted || !isTransient(error)) throw error;
    const backOffMs = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** (number - 1)) * (0.5 + random() / 2);
    const asked = error.cause instanceof RefusedRequest ? (error.cause.retryAfterMs ?? 0) : 0;
    const delayMs = Math.max(backOffMs, Math.min(asked, LONGEST_RETRY_AFTER_MS));
    if (pausedMs + delayMs > patienceMs) throw number === 1 ? error : afterAttempts(error, number);
    pausedMs += delayMs;
    onRetry?.(error, delayMs);
    await pause(delayMs, signal);
  }
}

const isTransient = ({ code }: WeftError) => code === 'unavailable' || code === 'deadline_exceeded';

function afterAttempts(error: WeftError, attempts: number): WeftError {
  const { code, message, hint, cause } = error;
  return new WeftError(code, `${message} (${attempts} attempts)`, { cause, ...(hint === undefined ? {} : { hint }) });
}
